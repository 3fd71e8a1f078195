"""A simulated RPC node: the JSON-RPC methods that services use, answered as of the slot that the node has reached."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from simulated_chain import (
    BLOCKHASH_LIVES_SLOTS,
    FINAL_AFTER_SLOTS,
    FIRST_SLOT,
    LandedTransaction,
    SimulatedChain,
)
from solders.account import Account
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

SLOTS_IN_EPOCH = 432_000
GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"


class NodeError(Exception):
    """A JSON-RPC error with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class SimulatedNode:
    """The nodes behind one URL; `lag_slots` is how far the slowest of them is behind the cluster."""

    def __init__(self, chain: SimulatedChain, name: str) -> None:
        self.chain = chain
        self.name = name
        self.lag_slots = 0
        self.behind_slots = 0  # for the current request
        self.fate = lambda: 1  # slots until a sent transaction lands; None: it never does

    @property
    def slot(self) -> int:
        return max(FIRST_SLOT, self.chain.slot - self.lag_slots - self.behind_slots)

    def answer(self, method: str, params: Sequence, behind_slots: int = 0) -> bytes:
        """Return the JSON of `result`; raises NodeError.

        `behind_slots`: answer as a node that is that many slots behind the slowest, or ahead of it if negative.
        """
        self.chain.catch_up()
        self.behind_slots = behind_slots
        handler = getattr(self, f"_{method}", None)
        if handler is None:
            raise NodeError(-32601, f"Method not found: {method}")
        result = handler(*params)
        return result if isinstance(result, bytes) else msgspec.json.encode(result)

    def _reached(self, options: dict | None) -> int:
        options = options or {}
        final = options.get("commitment") == "finalized"
        slot = max(FIRST_SLOT, self.slot - FINAL_AFTER_SLOTS) if final else self.slot
        if slot < options.get("minContextSlot", 0):
            raise NodeError(-32016, "Minimum context slot has not been reached")
        return slot

    def _in_context(self, value: object, slot: int) -> dict:
        return {"context": {"slot": slot, "apiVersion": "3.0.0"}, "value": value}

    def _find(self, signature: str, slot: int) -> LandedTransaction | None:
        result = self.chain.by_signature.get(signature)
        return result if result is not None and result.slot <= slot else None

    # --- the cluster

    def _getGenesisHash(self) -> str:  # noqa: N802 - the RPC's own names from here on
        return GENESIS

    def _getSlot(self, options: dict | None = None) -> int:  # noqa: N802
        return self._reached(options)

    def _getFirstAvailableBlock(self) -> int:  # noqa: N802
        return 0

    def _getBlockHeight(self, options: dict | None = None) -> int:  # noqa: N802
        return self._reached(options)

    def _getEpochInfo(self, options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        epoch, index = divmod(slot, SLOTS_IN_EPOCH)
        return {
            "absoluteSlot": slot,
            "blockHeight": slot,
            "epoch": epoch,
            "slotIndex": index,
            "slotsInEpoch": SLOTS_IN_EPOCH,
            "transactionCount": len(self.chain.landed),
        }

    def _getLatestBlockhash(self, options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        last = slot + BLOCKHASH_LIVES_SLOTS
        return self._in_context({"blockhash": self.chain.blockhash(slot), "lastValidBlockHeight": last}, slot)

    def _isBlockhashValid(self, blockhash: str, options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        return self._in_context(self.chain.is_valid(blockhash, slot), slot)

    def _getRecentPrioritizationFees(self, _addresses: list[str]) -> list:  # noqa: N802
        return []

    def _getMinimumBalanceForRentExemption(self, size: int, _options: dict | None = None) -> int:  # noqa: N802
        return self.chain.svm.minimum_balance_for_rent_exemption(size)

    # --- accounts

    def _getAccountInfo(self, address: str, options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        return self._in_context(_shown(self.chain.account(address, slot)), slot)

    def _getMultipleAccounts(self, addresses: list[str], options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        return self._in_context([_shown(self.chain.account(a, slot)) for a in addresses], slot)

    def _getBalance(self, address: str, options: dict | None = None) -> dict:  # noqa: N802
        slot = self._reached(options)
        account = self.chain.account(address, slot)
        return self._in_context(account.lamports if account else 0, slot)

    def _getProgramAccounts(self, program: str, options: dict) -> list | dict:  # noqa: N802
        assert program == self.chain.program.address
        slot = self._reached(options)
        result = self.chain.accounts_of_program(slot).items()
        filters = options.get("filters", [])
        keyed = [
            {"pubkey": key, "account": _shown(account)}
            for key, account in result
            if _passes(account, filters)
        ]
        return self._in_context(keyed, slot) if options.get("withContext") else keyed

    # --- transactions

    def _getSignaturesForAddress(self, address: str, options: dict) -> list:  # noqa: N802
        slot = self._reached(options)
        lines = [tx for tx in reversed(self.chain.by_address.get(address, ())) if tx.slot <= slot]
        names = [tx.signature for tx in lines]
        if options.get("before") in names:
            lines = lines[names.index(options["before"]) + 1 :]
        names = [tx.signature for tx in lines]
        if options.get("until") in names:
            lines = lines[: names.index(options["until"])]
        return [
            {
                "signature": tx.signature,
                "slot": tx.slot,
                "err": tx.err,
                "blockTime": tx.time,
                "confirmationStatus": self._status(tx),
            }
            for tx in lines[: options.get("limit", 1_000)]
        ]

    def _getTransaction(self, signature: str, options: dict | None = None) -> bytes:  # noqa: N802
        result = self._find(signature, self._reached(options))
        return result.raw if result else b"null"

    def _getBlock(self, slot: int, options: dict | None = None) -> dict:  # noqa: N802
        if slot > self._reached(options):
            raise NodeError(-32004, f"Block not available for slot {slot}")
        members = [tx.signature for tx in self.chain.landed if tx.slot == slot]
        if not members:
            raise NodeError(-32007, f"Slot {slot} was skipped")
        return {"signatures": members}

    def _getSignatureStatuses(self, signatures: list[str], _options: dict | None = None) -> dict:  # noqa: N802
        result = (self._find(signature, self.slot) for signature in signatures)
        return self._in_context([self._shown_status(tx) if tx else None for tx in result], self.slot)

    def _shown_status(self, tx: LandedTransaction) -> dict:
        return {"slot": tx.slot, "err": tx.err, "confirmationStatus": self._status(tx)}

    def _status(self, tx: LandedTransaction) -> str:
        return "finalized" if tx.slot <= self.slot - FINAL_AFTER_SLOTS else "confirmed"

    def _sendTransaction(self, raw: str, _options: dict) -> str:  # noqa: N802
        tx = VersionedTransaction.from_bytes(base64.b64decode(raw))
        after_slots = self.fate()
        if after_slots is not None:
            self.chain.submit(tx, after_slots)
        return str(tx.signatures[0])

    def _simulateTransaction(self, raw: str, options: dict) -> dict:  # noqa: N802
        tx = VersionedTransaction.from_bytes(base64.b64decode(raw))
        if not self.chain.is_valid(str(tx.message.recent_blockhash), self.slot):
            return self._in_context({"err": "BlockhashNotFound", "logs": []}, self.slot)
        result = self.chain.simulate(tx)
        failed = isinstance(result, FailedTransactionMetadata)
        meta = result.meta()
        value = {
            "err": msgspec.json.decode(result.to_json())["err"] if failed else None,
            "logs": list(meta.logs()),
            "unitsConsumed": meta.compute_units_consumed(),
        }
        if expected := (options.get("accounts") or {}).get("addresses"):
            after = {} if failed else {str(key): account for key, account in result.post_accounts()}
            value["accounts"] = [_shown(after.get(a) or self.chain.account(a, self.slot)) for a in expected]
        return self._in_context(value, self.slot)


def _shown(account: Account | None) -> dict | None:
    if account is None:
        return None
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": [base64.b64encode(bytes(account.data)).decode(), "base64"],
        "executable": account.executable,
        "rentEpoch": 0,
        "space": len(account.data),
    }


def _passes(account: Account, filters: list[dict]) -> bool:
    data = bytes(account.data)
    for item in filters:
        if "dataSize" in item and len(data) != item["dataSize"]:
            return False
        if "memcmp" in item:
            expected = base64.b64decode(item["memcmp"]["bytes"])
            offset = item["memcmp"]["offset"]
            if data[offset : offset + len(expected)] != expected:
                return False
    return True
