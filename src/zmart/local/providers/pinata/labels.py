"""Validate the metadata of an upload: its size is bounded, and its media type can be sent in a header."""

from __future__ import annotations

import re
from collections.abc import Mapping

from zmart.local.providers.pinata.forms import bad_request
from zmart.local.providers.pinata.pins import Label, Network

NAME_MAX = 255
KEYVALUES_MAX = 10
KEYVALUE_MAX = 255

_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")


def label(name: str, mime: str, network: Network, keyvalues: Mapping[str, str | int | float]) -> Label:
    """Return the label with these metadata. Raises HttpRefusal 400 if they are too large.

    An invalid media type `mime` is replaced by application/octet-stream.
    """
    if len(name) > NAME_MAX:
        raise bad_request(f"A name has at most {NAME_MAX} characters.")
    if len(keyvalues) > KEYVALUES_MAX:
        raise bad_request(f"There are at most {KEYVALUES_MAX} keyvalues.")
    if any(len(text) > KEYVALUE_MAX for pair in keyvalues.items() for text in map(str, pair)):
        raise bad_request(f"A keyvalue has at most {KEYVALUE_MAX} characters.")
    known_mime = mime if _MIME.fullmatch(mime) else "application/octet-stream"
    return Label(name=name, mime=known_mime, network=network, keyvalues=keyvalues)
