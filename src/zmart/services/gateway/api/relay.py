"""Relay signed transactions: check them, send them, and resend them until they have landed or can no longer land."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from contextlib import suppress

import msgspec
from solders.transaction import SanitizeError, VersionedTransaction

from zmart import traces
from zmart.chain import absence
from zmart.chain.judge import Dead, Live, PendingTransaction, Seen, Verdict, judge
from zmart.chain.nonces import durable_nonce, nonce_state
from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.chain.rpc_errors import RpcError
from zmart.chain.versions import MAX_V1_BYTES, max_transaction_bytes
from zmart.client.shapes.transactions import TransactionState
from zmart.errors import ChainError, Invalid, NotFound, ProgramError, StoreError
from zmart.feed.redis_client import RedisClient
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Signature, Slot
from zmart.outage_lines import OutageLines
from zmart.services.gateway.api.error_messages import explained, refusal
from zmart.services.gateway.api.rebroadcast import RESEND_S, Rebroadcast
from zmart.services.gateway.http.rate_limiter import RateLimiter
from zmart.services.gateway.http.rate_limits import quota

_PREFLIGHT_FAILED = -32002
_REMEMBERED_S = 86_400
_IN_DOUBT_S = 600
"""How many seconds a transaction is stored before a node has accepted it, and above a quota: longer than a blockhash
lives."""
RELAYED = quota("relayed transactions", 2_000)
"""The daily quota of relayed transactions of one fee payer. Those above it are stored for _IN_DOUBT_S only."""
RELAYED_IN_ALL = quota("relayed transactions in all", 50_000)
"""The daily quota of relayed transactions of all fee payers together, since anyone can create many wallets that can
each pay one fee. It limits the transactions in Redis to 200 MB; 30 MB are usual."""
_BLOCKHASH_LIVES_BLOCKS = 151
_NODE_LAG_BLOCKS = 32


class _Sent(msgspec.Struct, frozen=True, array_like=True):
    """A relayed transaction in the form in which Redis stores it, with what is needed to judge it later."""

    raw_tx: bytes
    last_valid_block_height: int
    nonce_seen_at: Slot | None

    def pending(self, signature: Signature) -> PendingTransaction:
        return PendingTransaction(signature, self.raw_tx, self.last_valid_block_height, self.nonce_seen_at)


class Relay:
    """Send signed transactions of users, and report their state. The transactions are stored in Redis, so that every
    gateway can report their state."""

    def __init__(
        self,
        program: Program,
        rpc: Rpc | None,
        redis: RedisClient | None,
        resend_s: float = RESEND_S,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._program = program
        self._rpc = rpc
        self._redis = redis
        self._rebroadcast = Rebroadcast(resend_s)
        self._limiter = limiter or RateLimiter(redis)
        self._outage = OutageLines(
            "relayed transactions are not remembered", "relayed transactions are remembered again"
        )

    async def send(self, text: str) -> Signature:
        """Send a transaction, given in base64, and return its signature. Raises Invalid for bytes that are not a fully
        signed transaction of the program, ProgramError when its simulation by the node fails, ChainError when the RPC
        does not accept it."""
        raw = _decode(text)
        transaction = _checked(self._program, raw)
        pending = await self._pending(transaction, raw)
        is_new = await self._remember(pending, _IN_DOUBT_S, only_new=True)
        began_ns = time.time_ns()
        try:
            await self._chain().send_raw_transaction(raw)
        except RpcError as problem:
            if not _is_known(problem):
                if await self._may_have_landed(pending, is_new=is_new):
                    return pending.signature
                if is_new:
                    await self._forget(pending)
                raise _as_refusal(self._program, problem) from problem
        traces.record(traces.TransactionStep.SEND, pending.signature, began_ns)
        await self._remember(pending, await self._remembered_s(transaction))
        self._rebroadcast.add(pending)
        return pending.signature

    async def _may_have_landed(self, pending: PendingTransaction, *, is_new: bool) -> bool:
        """Return whether a transaction that a node has just refused has landed, or may land because an earlier request
        with it may have been accepted: a node also refuses what has landed once its blockhash or nonce is over. Raises
        ChainError when the RPC cannot tell."""
        if not is_new and (earlier := await self._recall(pending.signature)) is not None:
            return not isinstance(await judge([self._chain()], earlier), Dead)
        statuses = await self._chain().get_signature_statuses([pending.signature], search_history=True)
        return statuses.values[0] is not None

    async def _remembered_s(self, transaction: VersionedTransaction) -> int:
        """Return for how many seconds an accepted transaction is stored: a day, or _IN_DOUBT_S above the quota of its
        fee payer or of all fee payers. The fee payer is known to be funded, because a node has accepted the
        transaction."""
        payer = str(transaction.message.account_keys[0])
        for policy, key in ((RELAYED, payer), (RELAYED_IN_ALL, "all")):
            if not (await self._limiter.take(policy, key)).allowed:
                return _IN_DOUBT_S
        return _REMEMBERED_S

    async def _pending(self, transaction: VersionedTransaction, raw: bytes) -> PendingTransaction:
        """Return the transaction with what is needed to judge it later: the slot in which its durable nonce was
        current, or else a last valid block height, which clients do not send."""
        seen_at = None
        if (nonce := durable_nonce(transaction)) is not None:
            state = await nonce_state(self._chain(), nonce, "confirmed")
            seen_at = state.slot if state.is_current else None
        last = 0 if seen_at is not None else await self._last_valid_height(transaction)
        return PendingTransaction(Signature(str(transaction.signatures[0])), raw, last, seen_at)

    async def _last_valid_height(self, transaction: VersionedTransaction) -> int:
        """Return a block height after which the transaction's blockhash cannot be valid.

        If a node knows the blockhash, a node that has reached that node's slot reports the height: a node that lags
        would report one that is too low. If none does, the height is raised by the possible lag of the node.
        """
        blockhash = str(transaction.message.recent_blockhash)
        validity = await self._chain().get_blockhash_validity(blockhash)
        known_at = validity.context_slot if validity.valid else None
        height = (await self._chain().get_block_height("confirmed", since=known_at)).height
        return height + _BLOCKHASH_LIVES_BLOCKS + (_NODE_LAG_BLOCKS if known_at is None else 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Resend transactions in flight until `stop` is set, because a node may drop a transaction."""
        await self._rebroadcast.run(stop, self._chain, self._remember)

    async def state_of(self, signature: Signature) -> TransactionState:
        """Return the state of the transaction with this signature. If it may still land, it is resent from now on, even
        if another gateway sent it. Raises NotFound if neither the chain nor a gateway knows it, ChainError if the RPC
        fails or its nodes disagree."""
        status = (await self._chain().get_signature_statuses([signature], search_history=True)).values[0]
        if status is not None:
            if status.confirmation_status == "processed":
                return TransactionState(signature=signature, status="live", slot=status.slot)
            return _final_state(
                self._program, signature, Seen(status.slot, status.err), status.confirmation_status
            )
        pending = await self._recall(signature)
        if pending is None:
            if await absence.unknown([self._chain()], signature) is None:
                raise ChainError(
                    "One node knows this transaction and another does not: try again in a moment."
                )
            raise NotFound("The chain does not know this transaction, and it was not sent through this API.")
        verdict = await judge([self._chain()], pending)
        if isinstance(verdict, Live):
            self._rebroadcast.add(pending)
        return _judged(self._program, signature, verdict)

    def _chain(self) -> Rpc:
        if self._rpc is None:
            raise ChainError("This gateway has no Solana RPC: set SOLANA_RPC_URL to send transactions.")
        return self._rpc

    async def _remember(
        self, pending: PendingTransaction, for_s: int = _REMEMBERED_S, *, only_new: bool = False
    ) -> bool:
        """Store the transaction in Redis for `for_s` seconds. Returns False if it is not stored by this call: Redis is
        missing or unavailable, or with `only_new` it is stored already."""
        if self._redis is None:
            return False
        sent = _Sent(pending.raw_tx, pending.last_valid_block_height, pending.nonce_seen_at)
        try:
            key, value = _key(pending.signature), msgspec.msgpack.encode(sent)
            is_stored = bool(await self._redis.set(key, value, ex=for_s, nx=only_new))
        except StoreError as problem:
            self._outage.failed(problem)
            return False
        self._outage.succeeded()
        return is_stored

    async def _forget(self, pending: PendingTransaction) -> None:
        if self._redis is not None:
            with suppress(StoreError):  # it expires by itself
                await self._redis.delete(_key(pending.signature))

    async def _recall(self, signature: Signature) -> PendingTransaction | None:
        if (mine := self._rebroadcast.get(signature)) is not None:
            return mine
        if self._redis is None:
            return None
        try:
            stored = await self._redis.get(_key(signature))
        except StoreError:
            return None
        if not isinstance(stored, bytes):
            return None
        try:
            return msgspec.msgpack.decode(stored, type=_Sent).pending(signature)
        except JSON_ERRORS:  # written by another release
            return None


def _key(signature: Signature) -> str:
    return f"relay:{signature}"


def _decode(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Invalid("transaction", "transaction must be base64.") from None
    if not raw:
        raise Invalid("transaction", "transaction is empty.")
    most = max_transaction_bytes(raw)
    if len(raw) > most:
        raise Invalid(
            "transaction",
            f"This one has {len(raw)} bytes; a transaction has at most {most} (version 1: {MAX_V1_BYTES}).",
        )
    return raw


def _checked(program: Program, raw: bytes) -> VersionedTransaction:
    """Decode a transaction, and check that it calls the program and has all required signatures. Raises Invalid if
    not."""
    try:
        transaction = VersionedTransaction.from_bytes(raw)
        if bytes(transaction) != raw:  # trailing bytes, which no node accepts
            raise ValueError("trailing bytes")
        transaction.sanitize()
        signed = all(transaction.verify_with_results())
        keys = transaction.message.account_keys
        programs = {keys[item.program_id_index] for item in transaction.message.instructions}
    except (ValueError, IndexError, TypeError, SanitizeError):
        raise Invalid("transaction", "These bytes are no Solana transaction.") from None
    if not signed:
        raise Invalid("transaction", "The transaction is not signed by every required signer.")
    if program.id not in programs:
        raise Invalid("transaction", f"The transaction does not call the program {program.address}.")
    return transaction


class _Preflight(msgspec.Struct):
    err: object = None
    logs: list[str] | None = None


def _is_known(problem: RpcError) -> bool:
    """Return whether an error of the RPC says that the cluster has processed the transaction already."""
    return "already been processed" in str(problem) or "AlreadyProcessed" in str(problem.data)


def _as_refusal(program: Program, problem: RpcError) -> ChainError:
    if problem.code != _PREFLIGHT_FAILED:
        return problem
    try:
        preflight = msgspec.convert(problem.data, _Preflight)
    except msgspec.ValidationError:
        return problem
    return refusal(program.transaction_error(preflight.err, preflight.logs or ()))


def _judged(program: Program, signature: Signature, verdict: Verdict) -> TransactionState:
    match verdict:
        case Seen():
            return _final_state(program, signature, verdict, "confirmed")
        case Live():
            return TransactionState(signature=signature, status="live")
        case Dead():
            return TransactionState(signature=signature, status="expired")


def _final_state(
    program: Program, signature: Signature, seen: Seen, confirmation: str | None
) -> TransactionState:
    if seen.err is None:
        return TransactionState(
            signature=signature, status="landed", slot=seen.slot, confirmation=confirmation
        )
    error: ProgramError = program.transaction_error(seen.err)
    return TransactionState(
        signature=signature,
        status="failed",
        slot=seen.slot,
        confirmation=confirmation,
        error=explained(error),
    )
