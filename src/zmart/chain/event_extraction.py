"""Return the events that the program emitted in a transaction, each with its position on chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from zmart.chain.instructions import DecodedInstruction
from zmart.chain.logs import Payload, walk
from zmart.chain.program import Program
from zmart.chain.transactions import ChainTransaction, TxInstruction
from zmart.errors import DecodeError
from zmart.market.events import (
    EVENT_OF_INSTRUCTION,
    AnyEvent,
    ChainEvent,
    MarketCreated,
    MarketFinalized,
)

EVENT_CPI_TAG = bytes.fromhex("e445a52e51cb9a1d")
"""The first 8 bytes of the instruction with which Anchor's emit_cpi! sends an event.

They are sha256("anchor:event")[:8] in reverse order. The event's payload follows.
"""


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
