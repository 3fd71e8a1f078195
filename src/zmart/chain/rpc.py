"""Call the RPC methods that services use; they return plain typed values.

A failure raises ChainError, whose message is a sentence. Shapes: https://solana.com/docs/rpc. Commitment is "confirmed"
unless a method says otherwise.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from zmart.chain.accounts import AccountInfo
from zmart.chain.clock import ChainClock, RecentClock, clock_params, read_clock
from zmart.chain.endpoint_guard import EndpointGuard
from zmart.chain.json_rpc import MAX_ANSWER_BYTES, JsonRpc, ReadReport, decode_answer
from zmart.chain.list_check import ListCheck
from zmart.chain.rpc_accounts import KeyedAccount, RpcAccount, info_of
from zmart.chain.rpc_context import (
    EpochInfo,
    InContext,
    TransactionHead,
    Value,
    report_context,
    report_epoch,
    report_list,
    report_slot,
    report_statuses,
    report_transaction,
    require_slot,
)
from zmart.chain.rpc_errors import RpcError
from zmart.chain.rpc_types import (
    Blockhash,
    BlockhashValidity,
    BlockHeight,
    Commitment,
    SignatureInfo,
    SignatureStatus,
    SimulationResult,
    Statuses,
)
from zmart.chain.versions import NEWEST_READABLE_VERSION, UNSUPPORTED_VERSION_CODE, check_readable
from zmart.errors import ChainError, UnsupportedVersion
from zmart.market.identifiers import BASE58_TEXT
from zmart.market.types import Address, Lamports, Signature, Slot
from zmart.settings import Settings

_OneAccount = InContext[RpcAccount | None]
_Accounts = InContext[list[RpcAccount | None]]
_StatusList = InContext[list[SignatureStatus | None]]
_NO_SUCH_BLOCK = (-32001, -32007, -32009)


class RefusedVersion(RpcError, UnsupportedVersion):
    """Report that a node withholds a transaction because it is newer than the version that the request allows."""

    def __init__(self, refusal: RpcError) -> None:
        UnsupportedVersion.__init__(self, str(refusal))
        self.code = refusal.code
        self.data = refusal.data


class _BlockSignatures(msgspec.Struct):
    signatures: list[Annotated[Signature, msgspec.Meta(pattern=BASE58_TEXT)]]


class _Simulated(msgspec.Struct, rename="camel"):
    err: object = None
    logs: list[str] | None = None
    units_consumed: int | None = None
    accounts: list[RpcAccount | None] | None = None


class _PrioritizationFee(msgspec.Struct, rename="camel"):
    prioritization_fee: int


class Rpc:
    """Call one cluster at one or more URLs. See JsonRpc for retries and failover."""

    def __init__(
        self,
        urls: Sequence[str],
        timeout_s: float = 10.0,
        attempts: int = 5,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        *,
        logs_outages: bool = True,
    ) -> None:
        self._rpc = JsonRpc(urls, timeout_s, attempts, max_answer_bytes, logs_outages=logs_outages)
        self._list_check = ListCheck(self._rpc)

    @property
    def name(self) -> str:
        """The endpoints' name for messages: "The RPC at" the hosts and ports."""
        return self._rpc.name

    @property
    def is_paused(self) -> bool:
        """Whether every endpoint is paused after a failure, silence included: ask another client first, if any."""
        return self._rpc.is_paused

    @classmethod
    def from_settings(cls, settings: Settings, *, logs_outages: bool = True) -> Rpc:
        """Build a client of all configured RPC URLs."""
        return cls(settings.rpc_urls, settings.rpc_timeout_s, logs_outages=logs_outages)

    @classmethod
    def of_each_url(cls, settings: Settings) -> list[Rpc]:
        """Build one client for each configured URL, for conclusions on which all must agree (chain/absence.py)."""
        return [cls([url], settings.rpc_timeout_s) for url in settings.rpc_urls]

    async def __aenter__(self) -> Rpc:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._rpc.aclose()

    def guard_with(self, guard: EndpointGuard) -> None:
        """Refuse answers of endpoints of another chain, and answers that the index's chain cannot give."""
        self._rpc.guard_with(guard)

    def refusals(self) -> Mapping[str, str]:
        """Return the reason for each endpoint whose answers are refused."""
        return self._rpc.refusals()

    async def check_chain(self, *, now: bool = True) -> None:
        """Check that every endpoint belongs to the index's chain.

        With `now` each endpoint is asked at once, else only if its last check was some time ago. Raises ChainError if
        an endpoint belongs to another chain or is unavailable. Does nothing without a guard.
        """
        await self._rpc.check_chain(now=now)

    async def call(self, method: str, params: Sequence[object] = ()) -> object:
        """Call any method, also one that only a local chain has. Returns the result as plain JSON values."""
        return await self._rpc.typed(object, method, params)

    async def get_slot(self, commitment: Commitment = "confirmed") -> Slot:
        """Return the newest slot at that commitment."""
        return Slot(await self._rpc.typed(int, "getSlot", [{"commitment": commitment}], report_slot))

    async def get_block_height(
        self, commitment: Commitment = "confirmed", *, since: Slot | None = None
    ) -> BlockHeight:
        """Return the height and the slot of the newest block at that commitment (getEpochInfo).

        Behind one URL there may be many nodes, so a slot from another answer need not be that of the height. The answer
        comes from a node that has reached slot `since`, if given; raises ChainError if no node reaches it in time.
        """
        options = {"commitment": commitment, **_least(since)}
        answer = await self._rpc.typed(EpochInfo, "getEpochInfo", [options], report_epoch)
        require_slot("getEpochInfo", answer.absolute_slot, since)
        return BlockHeight(answer.block_height, answer.absolute_slot)

    async def get_latest_blockhash(self, commitment: Commitment = "confirmed") -> Blockhash:
        """Return the newest blockhash and the last block height at which it is valid."""
        answer = await self._in_context(
            InContext[Blockhash], "getLatestBlockhash", [{"commitment": commitment}]
        )
        return answer.value

    async def get_blockhash_validity(
        self, blockhash: str, commitment: Commitment = "confirmed"
    ) -> BlockhashValidity:
        """Return whether a transaction with that blockhash can still be processed (isBlockhashValid)."""
        params = [blockhash, {"commitment": commitment}]
        answer = await self._in_context(InContext[bool], "isBlockhashValid", params)
        return BlockhashValidity(answer.value, answer.context.slot)

    async def get_account(
        self, address: Address, commitment: Commitment = "confirmed", *, since: Slot | None = None
    ) -> AccountInfo | None:
        """Return the account, or None if it does not exist.

        The answer comes from a node that has reached slot `since`, if given. Raises ChainError if no node reaches it in
        time.
        """
        options = _reading(commitment, since)
        answer = await self._in_context(_OneAccount, "getAccountInfo", [address, options])
        require_slot("getAccountInfo", answer.context.slot, since)
        return info_of(address, answer.value)

    async def get_account_with_slot(
        self, address: Address, commitment: Commitment = "confirmed"
    ) -> tuple[Slot, AccountInfo | None]:
        """Return the slot of the bank that the node read, and the account, None if it does not exist."""
        params = [address, _reading(commitment, None)]
        answer = await self._in_context(_OneAccount, "getAccountInfo", params)
        return answer.context.slot, info_of(address, answer.value)

    async def get_multiple_accounts(
        self,
        addresses: Sequence[Address],
        commitment: Commitment = "confirmed",
        *,
        since: Slot | None = None,
    ) -> list[AccountInfo | None]:
        """Return accounts in the order of the request, None for one that does not exist.

        More than 100 are requested in several calls, whose slots may differ. `since` works as in `get_account`.
        """
        infos: list[AccountInfo | None] = []
        options = _reading(commitment, since)
        for start in range(0, len(addresses), 100):
            piece = list(addresses[start : start + 100])
            answer = await self._in_context(_Accounts, "getMultipleAccounts", [piece, options])
            require_slot("getMultipleAccounts", answer.context.slot, since)
            if len(answer.value) != len(piece):
                raise ChainError("The RPC answered getMultipleAccounts with another number of accounts.")
            infos += [info_of(address, account) for address, account in zip(piece, answer.value, strict=True)]
        return infos

    async def get_program_accounts(
        self,
        program_id: Address,
        *,
        data_size: int | None = None,
        memcmp: Sequence[tuple[int, bytes]] = (),
        commitment: Commitment = "confirmed",
        since: Slot | None = None,
    ) -> list[AccountInfo]:
        """Return the program's accounts with that data size in bytes and those bytes at those offsets.

        A caller that concludes that an account does not exist must pass `since`, which works as in `get_account`.
        """
        filters: list[object] = [{"dataSize": data_size}] if data_size is not None else []
        for offset, raw in memcmp:
            encoded = base64.b64encode(raw).decode()
            filters.append({"memcmp": {"offset": offset, "bytes": encoded, "encoding": "base64"}})
        options = {**_reading(commitment, since), "withContext": True, "filters": filters}
        answer = await self._in_context(
            InContext[list[KeyedAccount]], "getProgramAccounts", [program_id, options]
        )
        require_slot("getProgramAccounts", answer.context.slot, since)
        return [item.account.info(item.pubkey) for item in answer.value]

    async def get_signatures_for_address(
        self,
        address: Address,
        *,
        before: Signature | None = None,
        until: Signature | None = None,
        limit: int = 1000,
        commitment: Commitment = "confirmed",
        since: Slot | None = None,
    ) -> list[SignatureInfo]:
        """List transactions of an address, newest first, failed ones included.

        `before` and `until` are exclusive. A node that has not reached slot `since` refuses the call; this response
        does not report its own slot. A caller that concludes that nothing is missing must call `check_lists` as well.
        """
        options: dict[str, object] = {"limit": limit, "commitment": commitment}
        options |= _least(since)
        options |= {name: value for name, value in (("before", before), ("until", until)) if value}
        return await self._rpc.typed(
            list[SignatureInfo], "getSignaturesForAddress", [address, options], report_list
        )

    async def check_lists(self, address: Address) -> None:
        """Check that no endpoint ignores `since` of `get_signatures_for_address`. Raises ChainError if one does.

        Each endpoint is asked once a minute.
        """
        await self._list_check.require(address)

    async def get_transaction_json(
        self, signature: Signature, commitment: Commitment = "confirmed"
    ) -> bytes | None:
        """Return the transaction as the node's own JSON, or None if the node does not have it.

        `transactions.parse_transaction` reads it. Raises UnsupportedVersion for a version that this release cannot
        read.
        """
        options = {
            "encoding": "json",
            "commitment": commitment,
            "maxSupportedTransactionVersion": NEWEST_READABLE_VERSION,
        }
        raw = await self._readable("getTransaction", [signature, options], report_transaction)
        if raw == b"null":
            return None
        check_readable(decode_answer(TransactionHead, "getTransaction", raw).version)
        return raw

    async def get_block_signatures(
        self, slot: Slot, commitment: Commitment = "confirmed"
    ) -> list[Signature] | None:
        """Return all signatures of a block in block order, or None.

        None proves nothing: the slot has no block, has none yet, or the node no longer keeps it. Raises
        UnsupportedVersion if the node withholds the block because of a transaction's version.
        """
        options = {
            "transactionDetails": "signatures",
            "rewards": False,
            "commitment": commitment,
            "maxSupportedTransactionVersion": NEWEST_READABLE_VERSION,
        }
        try:
            raw = await self._readable("getBlock", [slot, options])
        except RpcError as error:
            if error.code in _NO_SUCH_BLOCK:
                return None
            raise
        return None if raw == b"null" else decode_answer(_BlockSignatures, "getBlock", raw).signatures

    async def _in_context(
        self, kind: type[InContext[Value]], method: str, params: Sequence[object]
    ) -> InContext[Value]:
        return await self._rpc.typed(kind, method, params, report_context)

    async def _readable(
        self, method: str, params: Sequence[object], report: ReadReport[bytes] | None = None
    ) -> bytes:
        try:
            return await self._rpc.request(method, params, report)
        except RpcError as error:
            if error.code == UNSUPPORTED_VERSION_CODE:
                raise RefusedVersion(error) from error
            raise

    async def get_signature_statuses(
        self, signatures: Sequence[Signature], *, search_history: bool = False
    ) -> Statuses:
        """Return the statuses of at most 256 signatures.

        With `search_history` the node also searches its ledger, not only its recent statuses.
        """
        params = [list(signatures), {"searchTransactionHistory": search_history}]
        answer = await self._rpc.typed(_StatusList, "getSignatureStatuses", params, report_statuses)
        if len(answer.value) != len(signatures):
            raise ChainError("The RPC answered getSignatureStatuses with another number of statuses.")
        return Statuses(answer.context.slot, answer.value)

    async def send_raw_transaction(
        self, raw: bytes, *, skip_preflight: bool = False, max_retries: int | None = None
    ) -> Signature:
        """Send a signed transaction to the node; return its signature.

        To send the same bytes again is harmless.
        """
        options: dict[str, object] = {
            "encoding": "base64",
            "skipPreflight": skip_preflight,
            "preflightCommitment": "confirmed",
        }
        if max_retries is not None:
            options["maxRetries"] = max_retries
        params = [base64.b64encode(raw).decode(), options]
        return Signature(await self._rpc.typed(str, "sendTransaction", params))

    async def simulate(
        self,
        raw: bytes,
        *,
        accounts: Sequence[Address] = (),
        verify_signatures: bool = False,
        own_blockhash: bool = False,
    ) -> SimulationResult:
        """Run a transaction against the confirmed bank.

        The result holds `accounts` as they would be afterwards. Signatures are checked only with `verify_signatures`.
        With `own_blockhash` the node uses its own newest blockhash in place of the transaction's.
        """
        options: dict[str, object] = {
            "encoding": "base64",
            "commitment": "confirmed",
            "sigVerify": verify_signatures,
        }
        if own_blockhash:
            options["replaceRecentBlockhash"] = True
        if accounts:
            options["accounts"] = {"encoding": "base64", "addresses": list(accounts)}
        params = [base64.b64encode(raw).decode(), options]
        answer = await self._in_context(InContext[_Simulated], "simulateTransaction", params)
        value = answer.value
        after = zip(accounts, value.accounts or [None] * len(accounts), strict=False)
        return SimulationResult(
            slot=answer.context.slot,
            ok=value.err is None,
            units=value.units_consumed or 0,
            err=value.err,
            logs=tuple(value.logs or ()),
            accounts=tuple(info_of(address, account) for address, account in after),
        )

    async def get_balance(self, address: Address, *, since: Slot | None = None) -> Lamports:
        """Return an account's lamports; 0 if it does not exist. `since` works as in `get_account`."""
        params = [address, {"commitment": "confirmed", **_least(since)}]
        answer = await self._in_context(InContext[Lamports], "getBalance", params)
        require_slot("getBalance", answer.context.slot, since)
        return answer.value

    async def request_airdrop(self, address: Address, lamports: Lamports) -> Signature:
        """Request lamports for an address from a local or test cluster; return the transaction's signature."""
        return Signature(await self._rpc.typed(str, "requestAirdrop", [address, lamports]))

    async def get_minimum_balance_for_rent_exemption(self, data_len: int) -> Lamports:
        """Return the lamports that an account with `data_len` bytes of data must hold."""
        return Lamports(await self._rpc.typed(int, "getMinimumBalanceForRentExemption", [data_len]))

    async def get_genesis_hash(self) -> str:
        """Return the genesis hash, which identifies the cluster."""
        return await self._rpc.typed(str, "getGenesisHash")

    async def get_recent_prioritization_fees(self, addresses: Sequence[Address] = ()) -> list[int]:
        """Return a price for each recent slot, for transactions that write these accounts.

        Prices are in micro-lamports per compute unit.
        """
        fees = await self._rpc.typed(
            list[_PrioritizationFee], "getRecentPrioritizationFees", [list(addresses)]
        )
        return [fee.prioritization_fee for fee in fees]

    async def get_clock(self, commitment: Commitment = "confirmed", *, recent: bool = False) -> ChainClock:
        """Return the slot and the time that programs see.

        With `recent`, a Clock that lags too far counts as a failure of the endpoint.
        """
        report = _as_recent if recent else _as_reported
        return await self._rpc.read(read_clock, "getAccountInfo", clock_params(commitment), report)


def _reading(commitment: Commitment, since: Slot | None) -> dict[str, object]:
    """Return the options of a call that reads accounts."""
    return {"encoding": "base64", "commitment": commitment, **_least(since)}


def _least(since: Slot | None) -> dict[str, object]:
    """Return the option by which only a node answers that has reached slot `since`."""
    return {} if since is None else {"minContextSlot": since}


def _as_recent(clock: ChainClock) -> RecentClock:
    return RecentClock(clock.slot, clock.unix_timestamp)


def _as_reported(clock: ChainClock) -> ChainClock:
    return clock
