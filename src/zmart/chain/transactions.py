"""A fetched transaction in one shape, whoever told it: getTransaction (encoding json) or a raw webhook.

`extract_events` turns it into the program's events, each at its place on chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import base58
import msgspec

from zmart.chain.instructions import DecodedInstruction
from zmart.chain.logs import walk
from zmart.chain.program import Program
from zmart.chain.versions import check_readable
from zmart.chain.webhooks import WebhookItem, parse_webhook
from zmart.errors import DecodeError
from zmart.market.events import AnyEvent, ChainEvent, MarketCreated, MarketFinalized
from zmart.market.types import Address, ChainTime, Signature, Slot

__all__ = [
    "NO_EVENTS",
    "ChainTransaction",
    "Extracted",
    "TxInstruction",
    "WebhookItem",
    "extract_events",
    "parse_transaction",
    "parse_webhook",
]

EVENT_CPI_TAG = bytes.fromhex("e445a52e51cb9a1d")
"""Anchor's emit_cpi!: sha256("anchor:event")[:8] reversed, then the event's payload."""

_MAX_DATA_CHARS = 14_000  # 10 KiB, the largest instruction data of a CPI, in base58


class TxInstruction(msgspec.Struct, frozen=True):
    """One executed instruction. `caller` is the program that invoked it, None for a top-level one or where
    the node does not tell."""

    program_id: Address
    accounts: tuple[Address, ...]
    data_base58: str
    inner: bool
    caller: Address | None

    @property
    def data(self) -> bytes:
        """Decoded on demand: base58 is slow and most instructions are not ours. Raises DecodeError."""
        if len(self.data_base58) > _MAX_DATA_CHARS:
            raise DecodeError("An instruction carries more data than the runtime allows.")
        try:
            return base58.b58decode(self.data_base58)
        except ValueError as error:
            raise DecodeError("An instruction's data is not base58.") from error


class ChainTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """`instructions` are all, inner ones included, in execution order; `logs` is None if the node kept none, and
    `has_inner` false if it kept no inner instructions. `version` is None where it is not told.

    `block_time` is the node's; Surfpool's is 1000 times too small, so the time of an event is its own."""

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
        return self.logs is None or "Log truncated" in self.logs


class Extracted(msgspec.Struct, frozen=True):
    """`unknown` payloads of the program could not be decoded; each still takes an ordinal, and `strange` keeps
    its bytes.
    With `needs_account_fallback` the log was cut, or cannot be whole: `lost` are the instructions of the program whose
    event it does not hold, in execution order; the ordinals of those go on behind the payloads that are there."""

    events: list[ChainEvent]
    unknown: int
    needs_account_fallback: bool
    lost: tuple[TxInstruction, ...] = ()
    strange: tuple[tuple[int, bytes], ...] = ()


NO_EVENTS = Extracted([], 0, needs_account_fallback=False)
_Index = Annotated[int, msgspec.Meta(ge=0, le=255)]
_Uint = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Place = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


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


class _Meta(msgspec.Struct, rename="camel"):
    err: object = None
    log_messages: list[str] | None = None
    inner_instructions: list[_Inner] | None = None
    loaded_addresses: _Loaded | None = None


class _Message(msgspec.Struct, rename="camel"):
    account_keys: list[str]
    instructions: list[_Compiled]


class _Signed(msgspec.Struct):
    signatures: Annotated[list[str], msgspec.Meta(min_length=1)]
    message: _Message


class _Fetched(msgspec.Struct, rename="camel"):
    slot: _Uint
    transaction: _Signed
    meta: _Meta
    block_time: int | None = None
    index_within_block: _Place | None = None
    version: object = None


class _Versioned(msgspec.Struct):
    version: object = None


_fetched = msgspec.json.Decoder(_Fetched)
_versioned = msgspec.json.Decoder(_Versioned)


def parse_transaction(raw: bytes) -> ChainTransaction:
    """From a getTransaction result (encoding json) or a raw webhook element. Raises DecodeError; UnsupportedVersion
    for one whose version is newer than this release, whatever its message looks like."""
    try:
        fetched = _fetched.decode(raw)
        check_readable(fetched.version)
        instructions = tuple(_instructions(fetched))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, IndexError) as error:
        check_readable(_version_of(raw))  # a newer one may look quite different
        raise DecodeError(f"This is no transaction in the encoding 'json': {error}") from error
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
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _instructions(fetched: _Fetched) -> Iterator[TxInstruction]:
    message, loaded = fetched.transaction.message, fetched.meta.loaded_addresses or _Loaded()
    keys = [Address(key) for key in (*message.account_keys, *loaded.writable, *loaded.readonly)]
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
    accounts = tuple(keys[i] for i in compiled.accounts)
    return TxInstruction(keys[compiled.program_id_index], accounts, compiled.data, inner, caller)


def extract_events(program: Program, tx: ChainTransaction) -> Extracted:
    """The program's events in `tx`, none if it failed. Never raises on what a transaction may contain.

    The ordinal counts the program's payloads: first those sent by emit_cpi!, which are always complete, then
    those logged, of which a cut log holds a prefix; so it is the same whoever told the transaction.
    """
    ours = [i for i in tx.instructions if i.program_id == program.address]
    if tx.err is not None or not ours:
        return NO_EVENTS
    log = walk(tx.logs or (), program.address)
    has_gaps = log.broken or (not log.truncated and log.invocations < len(ours))
    # Where lines are missing and no mark says from where on, no payload can be given to its instruction.
    logged = () if has_gaps else log.payloads
    payloads: list[tuple[bytes | None, TxInstruction | None]] = [
        *((payload, None) for payload in _cpi_payloads(program, ours)),
        *((p.data, ours[p.invocation] if p.invocation < len(ours) else None) for p in logged),
    ]
    events: list[ChainEvent] = []
    strange: list[tuple[int, bytes]] = []
    for ordinal, (payload, emitter) in enumerate(payloads):
        if (event := _event(program, payload, emitter)) is not None:
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
            strange.append((ordinal, payload or b""))
    cut = log.truncated or has_gaps
    told = {p.invocation for p in logged}
    # Events sent by emit_cpi! are instructions, which no node cuts: a program that sends them loses none.
    complete = not cut or len(payloads) > len(logged)
    lost = () if complete else tuple(item for n, item in enumerate(ours) if n not in told)
    return Extracted(events, len(strange), cut, lost, tuple(strange))


def _cpi_payloads(program: Program, ours: Sequence[TxInstruction]) -> Iterator[bytes]:
    authority = (program.addresses.event_authority(),)
    for instruction in ours:
        if not instruction.inner or instruction.accounts != authority:
            continue
        # The program lets this instruction pass only when its own PDA signed, which only itself can do.
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
    """What the event leaves out, from the arguments of the instruction that emitted it."""
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
    try:
        call = program.instructions.decode(emitter.data)
    except DecodeError:
        return None
    return call if call.name == name else None


def _data(instruction: TxInstruction) -> bytes:
    try:
        return instruction.data
    except DecodeError:
        return b""
