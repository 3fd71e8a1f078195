"""Parse a fetched transaction into one shape, from getTransaction (encoding json) or a raw webhook element.

`extract_events` returns the events that the program emitted in it, each with its position on chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, cast

import msgspec

from zmart.chain.instructions import DecodedInstruction
from zmart.chain.logs import Payload, walk
from zmart.chain.program import Program
from zmart.chain.versions import check_readable
from zmart.chain.webhooks import WebhookItem, parse_webhook
from zmart.errors import DecodeError
from zmart.market.encodings import decode_base58
from zmart.market.events import (
    EVENT_OF_INSTRUCTION,
    AnyEvent,
    ChainEvent,
    MarketCreated,
    MarketFinalized,
)
from zmart.market.identifiers import BASE58_TEXT
from zmart.market.json_input import JSON_ERRORS, is_shallow
from zmart.market.types import Address, ChainTime, Signature, Slot

__all__ = [
    "HIDDEN_CALLS",
    "NO_EVENTS",
    "ChainTransaction",
    "Extracted",
    "TxInstruction",
    "WebhookItem",
    "extract_events",
    "instruction_name",
    "may_hide_calls",
    "parse_transaction",
    "parse_webhook",
]

EVENT_CPI_TAG = bytes.fromhex("e445a52e51cb9a1d")
"""The first 8 bytes of the instruction with which Anchor's emit_cpi! sends an event.

They are sha256("anchor:event")[:8] in reverse order. The event's payload follows.
"""

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


class Extracted(msgspec.Struct, frozen=True):
    """Hold the program's events in a transaction, and what could not be read.

    `unknown` counts the program's payloads that could not be decoded. Each of them has an ordinal too: `undecodable`
    holds the ordinals with the bytes (b"" if the line was not base64). `needs_account_fallback` is true if the log is
    truncated, has gaps, or lacks the event of an instruction that always emits one. `lost` holds the program's
    instructions whose event is missing, in execution order, each with the event's ordinal.
    """

    events: list[ChainEvent]
    unknown: int
    needs_account_fallback: bool
    lost: tuple[tuple[int, TxInstruction], ...] = ()
    undecodable: tuple[tuple[int, bytes], ...] = ()


NO_EVENTS = Extracted([], 0, needs_account_fallback=False)
HIDDEN_CALLS = "The node does not show all inner instructions: a call of the program may be among the others."
"""The reason for which a transaction is not read whose calls of the program the node may have omitted."""
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


def may_hide_calls(program: Program, tx: ChainTransaction) -> bool:
    """Return whether the node may have omitted inner instructions that called the program.

    That is so if the log of a successful transaction shows more calls of the program than the instructions, whether the
    node kept no inner instructions, an empty list or a part of them. Of a node that kept none it is also so if the log
    is incomplete, or if there is neither a log nor a visible call.
    """
    if tx.err is not None:
        return False
    visible = sum(i.program_id == program.address for i in tx.instructions)
    if not tx.logs:
        return not tx.has_inner and not visible
    # Nearly all transactions end here: a log has no more calls than lines that begin as one.
    if (
        tx.has_inner
        and sum(line.startswith(f"Program {program.address} invoke ") for line in tx.logs) <= visible
    ):
        return False
    log = walk(tx.logs, program.address)
    return log.invocations > visible or (not tx.has_inner and (log.truncated or log.broken))


def extract_events(program: Program, tx: ChainTransaction) -> Extracted:
    """Return the program's events in `tx`; none if the transaction failed.

    Never raises, whatever a transaction contains. An event's ordinal counts the program's payloads in the transaction.
    Payloads that emit_cpi! sent come first and are always complete. Logged payloads follow, and a truncated log holds
    the first of them. An event that the log lacks before others keeps its ordinal. So an event has the same ordinal
    from every source.
    """
    ours = [i for i in tx.instructions if i.program_id == program.address]
    if tx.err is not None or not ours:
        return NO_EVENTS
    log = walk(tx.logs or (), program.address)
    has_gaps = log.broken or (not log.truncated and log.invocations < len(ours))
    # If lines are missing without a mark, no payload can be attributed to its instruction.
    logged = () if has_gaps else log.payloads
    is_partial = log.truncated or has_gaps
    events: list[ChainEvent] = []
    undecodable: list[tuple[int, bytes]] = []
    lost: list[tuple[int, TxInstruction]] = []
    for ordinal, entry in enumerate(_entries(program, ours, logged, is_partial=is_partial)):
        if isinstance(entry, TxInstruction):
            lost.append((ordinal, entry))
        elif (event := _event(program, entry.payload, entry.emitter)) is not None:
            events.append(
                ChainEvent(
                    signature=tx.signature,
                    ordinal=ordinal,
                    slot=tx.slot,
                    index_in_block=tx.index_in_block,
                    event=event,
                )
            )
        else:
            undecodable.append((ordinal, entry.payload or b""))
    return Extracted(events, len(undecodable), is_partial or bool(lost), tuple(lost), tuple(undecodable))


class _Emitted(msgspec.Struct, frozen=True):
    """A payload of the program, None if it was not base64, and the instruction that logged it, None if unknown."""

    payload: bytes | None
    emitter: TxInstruction | None


def _entries(
    program: Program, ours: Sequence[TxInstruction], logged: Sequence[Payload], *, is_partial: bool
) -> Iterator[_Emitted | TxInstruction]:
    """Yield what has an ordinal, in that order: each payload, and each instruction whose payload is missing."""
    sent = list(_cpi_payloads(program, ours))
    yield from (_Emitted(payload, None) for payload in sent)
    logged_invocations = {p.invocation for p in logged}
    # Events sent by emit_cpi! are instructions, which no node truncates: a program that uses it loses none.
    without = [] if sent else [n for n in range(len(ours)) if n not in logged_invocations]
    silent = {n for n in without if instruction_name(program, ours[n]) in EVENT_OF_INSTRUCTION}
    for payload in logged:
        for n in sorted(n for n in silent if n < payload.invocation):
            silent.remove(n)
            without.remove(n)
            yield ours[n]
        yield _Emitted(payload.data, ours[payload.invocation] if payload.invocation < len(ours) else None)
    yield from (ours[n] for n in without if is_partial or n in silent)


def instruction_name(program: Program, instruction: TxInstruction) -> str:
    """Return the IDL's name of an instruction of the program, "" for one that the IDL does not know."""
    call = _decoded(program, instruction)
    return call.name if call else ""


def _cpi_payloads(program: Program, ours: Sequence[TxInstruction]) -> Iterator[bytes]:
    authority = (program.addresses.event_authority(),)
    for instruction in ours:
        if not instruction.inner or instruction.accounts != authority:
            continue
        # The program accepts this instruction only if its own PDA signed, which only the program itself can do.
        if instruction.caller not in (None, program.address):
            continue
        data = _data(instruction)
        if data.startswith(EVENT_CPI_TAG):
            yield data[len(EVENT_CPI_TAG) :]


def _event(program: Program, payload: bytes | None, emitter: TxInstruction | None) -> AnyEvent | None:
    if payload is None:
        return None
    try:
        event = program.events.decode(payload)
    except DecodeError:
        return None
    return _enriched(program, event, emitter) if emitter else event


def _enriched(program: Program, event: AnyEvent, emitter: TxInstruction) -> AnyEvent:
    """Add the fields that the event omits, from the arguments of the instruction that emitted it."""
    match event:
        case MarketCreated():
            call = _call(program, "create_market", emitter)
            if call and call.args["market_id"] == event.market_id:
                return _with(event, call, "initial_liquidity", "ipfs_question_hash")
        case MarketFinalized(was_disputed=True):
            call = _call(program, "finalize_market", emitter)
            if call and program.addresses.market(event.market_id) in emitter.accounts:
                return _with(event, call, "dispute_agree", "dispute_disagree")
        case _:
            pass
    return event


def _with(event: AnyEvent, call: DecodedInstruction, *names: str) -> AnyEvent:
    return msgspec.structs.replace(event, **{name: call.args[name] for name in names})


def _call(program: Program, name: str, emitter: TxInstruction) -> DecodedInstruction | None:
    call = _decoded(program, emitter)
    return call if call and call.name == name else None


def _decoded(program: Program, instruction: TxInstruction) -> DecodedInstruction | None:
    try:
        return program.instructions.decode(instruction.data)
    except DecodeError:
        return None


def _data(instruction: TxInstruction) -> bytes:
    try:
        return instruction.data
    except DecodeError:
        return b""
