"""Parse uploads: multipart/form-data with one file. A file of more than 256 KiB is written to disk as it arrives."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import TypeVar

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from zmart.local.providers.http import HttpRefusal, HttpRequest
from zmart.market.json_input import JSON_ERRORS

FILE_MAX_BYTES = 100 * 1024 * 1024
FIELD_MAX_BYTES = 64 * 1024
_PARTS_MAX = 16
FRAME_MAX_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 256 * 1024

Shape = TypeVar("Shape")


class UploadForm:
    """The form of an upload: a context manager, which deletes the temporary file at its end.

    `read` fills `fields`, `filename`, `mime` and `file`, whose position is at its start then. `known` names the fields
    that are allowed beside the file.
    """

    def __init__(
        self,
        folder: Path,
        known: Collection[str],
        file_max_bytes: int = FILE_MAX_BYTES,
        frame_max_bytes: int = FRAME_MAX_BYTES,
    ) -> None:
        self._file_max_bytes = file_max_bytes
        self._frame_max_bytes = frame_max_bytes
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.mime = "application/octet-stream"
        self.file = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 - see __exit__
        self._known = known
        self._has_file = False
        self._field = bytearray()

    def __enter__(self) -> UploadForm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    async def read(self, request: HttpRequest) -> None:
        """Read the form from a request.

        Raises HttpRefusal: 400 for an invalid form, an unknown field or a too large part, 413 for a too large body.
        Raises Disconnected.
        """
        try:
            parser = PushMultipartParser(
                _boundary(request),
                max_segment_size=self._file_max_bytes,
                max_segment_count=_PARTS_MAX,
                strict=True,
            )
            segment: MultipartSegment | None = None
            async for chunk in request.chunks(self._file_max_bytes + self._frame_max_bytes):
                for event in parser.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        self._begin(segment := event)
                    elif segment is not None:
                        self._end(segment) if event is None else self._take(segment, bytes(event))
            parser.close()
        except MultipartError as problem:
            raise bad_request(f"Invalid request format. {problem}") from None
        if not self._has_file:
            raise bad_request("Invalid request format. There is no part named file.")
        self.file.seek(0)

    def json(self, name: str, kind: type[Shape]) -> Shape:
        """Decode the JSON of the field `name` as `kind`; a missing field counts as `{}`. Raises HttpRefusal 400."""
        try:
            return msgspec.json.decode(self.fields.get(name, "{}"), type=kind)
        except JSON_ERRORS as problem:
            raise bad_request(f"{name} is wrong: {problem}") from None

    def _begin(self, segment: MultipartSegment) -> None:
        is_file = segment.name == "file"
        if (not is_file and segment.name not in self._known) or segment.name in self.fields:
            raise bad_request("Unexpected field")
        if is_file and (self._has_file or segment.filename is None):
            raise bad_request("Invalid request format. One file at a time, with a filename.")
        if is_file:
            self._has_file = True
            self.filename = segment.filename or ""
            self.mime = segment.content_type or self.mime
        self._field.clear()

    def _take(self, segment: MultipartSegment, piece: bytes) -> None:
        if segment.name == "file":
            self.file.write(piece)
            return
        self._field += piece
        if len(self._field) > FIELD_MAX_BYTES:
            raise bad_request(f"{segment.name} is larger than {FIELD_MAX_BYTES} bytes.")

    def _end(self, segment: MultipartSegment) -> None:
        if segment.name == "file":
            return
        try:
            self.fields[segment.name] = self._field.decode()
        except UnicodeDecodeError:
            raise bad_request(f"{segment.name} is not UTF-8.") from None


def bad_request(message: str) -> HttpRefusal:
    """Return a refusal with status 400 in the shape of the legacy API; FilesApi converts it to the shape of v3."""
    return HttpRefusal(400, {"error": message})


def _boundary(request: HttpRequest) -> str:
    boundary = ""
    with suppress(ValueError):
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get("boundary", "") if kind.lower() == "multipart/form-data" else ""
    if not boundary:
        raise bad_request("Invalid request format. Send multipart/form-data with a boundary.")
    return boundary
