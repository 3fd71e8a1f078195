"""A simulated Solana node for one story, over HTTP: the RPC methods that the indexer calls.

Its chain can grow, fork and fail on demand.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from contextlib import asynccontextmanager

import msgspec

from kit import http_servers
from kit.chain_story import ADMIN, BACKEND, PROGRAM, Story, Tx, key
from zmart.chain.accounts import GlobalConfig
from zmart.chain.clock import CLOCK

GENESIS = key(77)


class NotReached(Exception):
    """The node has not reached the slot that a call requires."""


class StoryNode:
    """An RPC whose chain consists of the transactions `shown`; change the list to let the chain grow or fork."""

    def __init__(self, story: Story) -> None:
        self.shown: list[Tx] = list(story.txs)
        self.calls: dict[str, int] = {}
        self.genesis = GENESIS
        self.away = False
        self.withheld: set[str] = set()  # signatures that are listed, but unknown to all other methods
        self.without_status: set[str] = set()  # signatures whose status is null
        self.ignores_commitment = False  # getTransaction returns what is not final, too
        self.more_slots = 0  # slots that have passed since the last transaction
        self.final_slot: int | None = None  # None: everything is final at once
        self.url = ""
        self.longest_page = 1_000
        self.ignores_before = False
        self.disturbs: Callable[[int], tuple[int, bytes] | None] = lambda number: (
            None
        )  # (id) -> status and body
        self.raws: dict[str, bytes | None] = {}  # answers to getTransaction by signature; None: null

    def tip(self) -> int:
        return self.more_slots + max((tx.slot for tx in self.shown), default=5) + 5

    def _final(self) -> int:
        return self.tip() if self.final_slot is None else self.final_slot

    async def app(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = msgspec.json.decode(body)
        status = 503 if self.away else 200
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        if not self.away:
            self.calls[request["method"]] = self.calls.get(request["method"], 0) + 1
            try:
                answer["result"] = msgspec.Raw(getattr(self, request["method"])(*request["params"]))
            except NotReached:
                message = "Minimum context slot has not been reached"
                answer["error"] = {"code": -32016, "message": message, "data": {"contextSlot": self.tip()}}
        raw = msgspec.json.encode(answer)
        if (disturbed := self.disturbs(request["id"])) is not None:
            status, raw = disturbed
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": raw})

    def getGenesisHash(self):  # noqa: N802 - the RPC's own names from here on
        return msgspec.json.encode(self.genesis)

    def getSlot(self, options):  # noqa: N802
        return msgspec.json.encode(self._final() if options["commitment"] == "finalized" else self.tip())

    def getAccountInfo(self, address, options):  # noqa: N802
        assert address == CLOCK, f"nobody asks for {address} here"
        slot = self._final() if options["commitment"] == "finalized" else self.tip()
        data = base64.b64encode(struct.pack("<Q24xq", slot, self.time_of(slot))).decode()
        account = {"lamports": 1, "owner": key(8), "data": [data, "base64"], "executable": False}
        return msgspec.json.encode({"context": {"slot": slot}, "value": account})

    def time_of(self, slot: int) -> int:
        """Return the Clock's time in a slot; it is later than every event of the story."""
        return 4_000_000_000 + slot

    def getMultipleAccounts(self, addresses, options):  # noqa: N802
        return msgspec.json.encode(
            {"context": {"slot": self.tip()}, "value": [self._account(a) for a in addresses]}
        )

    def _account(self, address):
        if address == PROGRAM.address:
            return {"lamports": 1, "owner": key(9), "data": ["", "base64"], "executable": True}
        config = GlobalConfig(
            admin=ADMIN,
            backend_authority=BACKEND,
            protocol_fee_wallet=key(3),
            protocol_fee_bps=300,
            resolver_reward_bps=200,
            liquidity_provider_fee_bps=500,
            proposal_approval_threshold=7000,
            dispute_success_threshold=6000,
            min_resolution_delay=60,
            dispute_period=120,
            min_resolver_reputation=0,
            is_paused=False,
            reserved="",
            bump=255,
        )
        data = base64.b64encode(PROGRAM.accounts.encode(config)).decode()
        return {"lamports": 1, "owner": PROGRAM.address, "data": [data, "base64"], "executable": False}

    def getSignaturesForAddress(self, address, options):  # noqa: N802
        if options.get("minContextSlot", 0) > self.tip():
            raise NotReached
        lines = [tx for tx in reversed(self.shown) if tx.program == PROGRAM.address]
        names = [tx.signature for tx in lines]
        if options.get("before") in names and not self.ignores_before:
            lines = lines[names.index(options["before"]) + 1 :]
        names = [tx.signature for tx in lines]
        if options.get("until") in names:
            lines = lines[: names.index(options["until"])]
        return msgspec.json.encode(
            [
                {"signature": tx.signature, "slot": tx.slot, "err": tx.err, "confirmationStatus": "confirmed"}
                for tx in lines[: min(options["limit"], self.longest_page)]
            ]
        )

    def getTransaction(self, signature, options):  # noqa: N802
        if signature in self.raws:
            return self.raws[signature] or b"null"
        is_final = options["commitment"] == "finalized" and not self.ignores_commitment
        most = self._final() if is_final else self.tip()
        known = (tx for tx in self.shown if tx.signature not in self.withheld and tx.slot <= most)
        result = next((tx for tx in known if tx.signature == signature), None)
        return result.raw(with_index=False) if result else b"null"

    def getBlock(self, slot, options):  # noqa: N802
        members = sorted((tx.index, tx.signature) for tx in self.shown if tx.slot == slot)
        signatures = [key(number) for number in range(members[-1][0] + 1)] if members else []
        for index, signature in members:
            signatures[index] = signature
        return msgspec.json.encode({"signatures": signatures})

    def getSignatureStatuses(self, signatures, options):  # noqa: N802
        hidden = self.withheld | self.without_status
        by_name = {tx.signature: tx for tx in self.shown if tx.signature not in hidden}
        values = [
            {
                "slot": by_name[s].slot,
                "err": by_name[s].err,
                "confirmationStatus": "finalized" if by_name[s].slot <= self._final() else "confirmed",
            }
            if s in by_name
            else None
            for s in signatures
        ]
        return msgspec.json.encode({"context": {"slot": self.tip()}, "value": values})


@asynccontextmanager
async def serving(story: Story):
    """Serve a node for the story on a free port of the loopback within the block, and yield the node."""
    node = StoryNode(story)
    async with http_servers.serving(node.app) as node.url:
        yield node
