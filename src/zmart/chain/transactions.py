"""Parse a fetched transaction into one shape, from getTransaction (encoding json) or a raw webhook element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, cast

import msgspec

from zmart.chain.versions import check_readable
from zmart.errors import DecodeError
from zmart.market.encodings import decode_base58
from zmart.market.identifiers import BASE58_TEXT
from zmart.market.json_input import JSON_ERRORS, is_shallow
from zmart.market.types import Address, ChainTime, Signature, Slot

_MAX_DATA_CHARS = 14_000  # 10 KiB, the largest instruction data of a CPI, in base58


class TxInstruction(msgspec.Struct, frozen=True):
    """Hold one executed instruction.

    `inner` is true if a program invoked it, and `caller` is that program. `caller` is None for a top-level instruction,
    or if the node omits the stack height.
    """

    program_id: Address
    accounts: tuple[Address, ...]
    data_base58: str
    inner: bool
    caller: Address | None

    @property
    def data(self) -> bytes:
        """Decode the instruction's data on demand, since base58 is slow and few instructions are needed.

        Raises DecodeError if the text is not base58, or longer than the runtime allows.
        """
        if len(self.data_base58) > _MAX_DATA_CHARS:
            raise DecodeError("An instruction carries more data than the runtime allows.")
        try:
            return decode_base58(self.data_base58)
        except ValueError as error:
            raise DecodeError("An instruction's data is not base58.") from error


class ChainTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """Hold a transaction that the chain executed.

    `instructions` lists all of them in execution order, inner ones included. `logs` is None if the node did not keep
    them, and `has_inner` is false if it kept no inner instructions. `err` is None if the transaction succeeded.
    `index_in_block` and `version` are None if the source omits them. `block_time` is the node's; Surfpool's is a
    thousandth of the real time, so use the time of an event instead.
    """

    signature: Signature
    slot: Slot
    index_in_block: int | None
    block_time: ChainTime | None
    err: object
    logs: tuple[str, ...] | None
    instructions: tuple[TxInstruction, ...]
    version: str | int | None = None
    has_inner: bool = True

    @property
    def truncated(self) -> bool:
        """Return whether the log is missing, or was truncated by the runtime."""
        return self.logs is None or "Log truncated" in self.logs


_MOST_LEVELS_OF_ERROR = 16
"""Maximum nesting of a transaction's error. Errors of the runtime have three levels."""
_Index = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Uint = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_BlockIndex = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Compiled(msgspec.Struct, rename="camel"):
    program_id_index: _Index
    accounts: list[_Index]
    data: str
    stack_height: int | None = None


class _Inner(msgspec.Struct, rename="camel"):
    index: _Index
    instructions: list[_Compiled]


class _Loaded(msgspec.Struct):
    writable: list[str] = []
    readonly: list[str] = []


class _TransactionMeta(msgspec.Struct, rename="camel"):
    err: object = None
    log_messages: list[str] | None = None
    inner_instructions: list[_Inner] | None = None
    loaded_addresses: _Loaded | None = None


class _TransactionMessage(msgspec.Struct, rename="camel"):
    account_keys: list[str]
    instructions: list[_Compiled]


class _SignedEnvelope(msgspec.Struct):
    signatures: Annotated[list[Annotated[str, msgspec.Meta(pattern=BASE58_TEXT)]], msgspec.Meta(min_length=1)]
    message: _TransactionMessage


class _FetchedTransaction(msgspec.Struct, rename="camel"):
    slot: _Uint
    transaction: _SignedEnvelope
    meta: _TransactionMeta
    block_time: int | None = None
    index_within_block: _BlockIndex | None = None
    version: object = None


class _VersionOnly(msgspec.Struct):
    version: object = None


_fetched = msgspec.json.Decoder(_FetchedTransaction)
_versioned = msgspec.json.Decoder(_VersionOnly)


def parse_transaction(raw: bytes) -> ChainTransaction:
    """Parse a getTransaction result (encoding json) or a raw webhook element.

    Raises UnsupportedVersion for a version that is newer than this release reads, whatever shape its message has.
    Raises DecodeError for anything else that is not such a transaction.
    """
    try:
        fetched = _fetched.decode(raw)
        check_readable(fetched.version)
        instructions = tuple(_instructions(fetched))
        if not is_shallow(fetched.meta.err, _MOST_LEVELS_OF_ERROR):
            raise DecodeError(
                "This is not a transaction in the encoding 'json': its error is nested too deeply."
            )
    except (*JSON_ERRORS, IndexError) as error:
        check_readable(_version_of(raw))  # a newer version may have another shape
        raise DecodeError(f"This is not a transaction in the encoding 'json': {error}") from error
    meta, time = fetched.meta, fetched.block_time
    return ChainTransaction(
        signature=Signature(fetched.transaction.signatures[0]),
        slot=Slot(fetched.slot),
        index_in_block=fetched.index_within_block,
        block_time=None if time is None else ChainTime(time),
        err=meta.err,
        logs=None if meta.log_messages is None else tuple(meta.log_messages),
        instructions=instructions,
        version=fetched.version if isinstance(fetched.version, str | int) else None,
        has_inner=meta.inner_instructions is not None,
    )


def _version_of(raw: bytes) -> object:
    try:
        return _versioned.decode(raw).version
    except JSON_ERRORS:
        return None


def _instructions(fetched: _FetchedTransaction) -> Iterator[TxInstruction]:
    message, loaded = fetched.transaction.message, fetched.meta.loaded_addresses or _Loaded()
    keys = cast("list[Address]", [*message.account_keys, *loaded.writable, *loaded.readonly])
    inner: dict[int, list[_Compiled]] = {}
    for group in fetched.meta.inner_instructions or ():
        inner.setdefault(group.index, []).extend(group.instructions)
    for index, outer in enumerate(message.instructions):
        yield _resolve(keys, outer, inner=False, caller=None)
        callers = {1: keys[outer.program_id_index]}
        for compiled in inner.get(index, ()):
            height = compiled.stack_height
            yield _resolve(keys, compiled, inner=True, caller=callers.get(height - 1) if height else None)
            if height:
                callers[height] = keys[compiled.program_id_index]


def _resolve(
    keys: Sequence[Address], compiled: _Compiled, *, inner: bool, caller: Address | None
) -> TxInstruction:
    accounts = tuple([keys[i] for i in compiled.accounts])
    return TxInstruction(keys[compiled.program_id_index], accounts, compiled.data, inner, caller)
