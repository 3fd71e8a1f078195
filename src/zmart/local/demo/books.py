"""Check after the play that independent sources agree: accounts on chain, the API, the WebSocket, logs of votes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import itemgetter

import msgspec

from zmart.chain.accounts import AccountInfo, PositionAccount, VoteRecord
from zmart.chain.addresses import to_pubkey
from zmart.errors import ZmartError
from zmart.local.demo.api import Json, until
from zmart.local.demo.replay_check import compare_with_replay
from zmart.local.demo.report import ConsistencyCheck
from zmart.local.demo.world import FUNDS_LAMPORTS, DemoWorld, MarketPlay
from zmart.market.tally import Tally
from zmart.market.types import Address, MarketId, Signature, VoteKind
from zmart.proofs.log_sources import from_api
from zmart.proofs.tally_evidence import Anchor, gather
from zmart.proofs.verify_tally import Verdict, verify_tally

_TRADE_NAMES = ("slot", "tx_signature", "shares", "cost", "outcome", "trade_type", "user_wallet")
_SAME_NAMES = ("b_parameter", "initial_liquidity", "current_liquidity", "shares_yes", "shares_no", "total_volume",
               "proposed_outcome", "final_outcome", "was_disputed")  # fmt: skip


async def check(world: DemoWorld) -> list[ConsistencyCheck]:
    """Run all checks, and return their results in order. A check that raises anything has failed."""
    checks: list[tuple[str, Callable[[DemoWorld], Awaitable[str]]]] = [
        ("market accounts = index", _markets_agree),
        ("position accounts = index", _positions_agree),
        ("lamports conserved", _lamports_conserved),
        ("socket = feed replayed", _replay_agrees),
        ("socket trades = index", _tape_agrees),
        ("timeline in order", _timeline_in_order),
        ("index gap-free past the end", _gap_free),
        ("tallies verified, one number everywhere", _tallies_hold),
    ]
    return [await _one(world, name, run) for name, run in checks]


async def _one(world: DemoWorld, name: str, run: Callable[[DemoWorld], Awaitable[str]]) -> ConsistencyCheck:
    try:
        return ConsistencyCheck(name=name, ok=True, detail=await run(world))
    except Exception as problem:  # the row must say what did not agree, whatever it was
        return ConsistencyCheck(name=name, ok=False, detail=f"{type(problem).__name__}: {problem}"[:400])


async def _markets_agree(world: DemoWorld) -> str:
    for play in world.markets:
        account, _ = await world.account(play)
        row = await world.market(play)
        differ = {n: (getattr(account, n), row[n]) for n in _SAME_NAMES if getattr(account, n) != row[n]}
        if account.state.name != row["state"]:
            differ["state"] = (account.state.name, row["state"])
        if differ:
            raise ZmartError(f"{play.label}: chain and index differ: {differ}")
    return f"{len(world.markets)} markets, {len(_SAME_NAMES) + 1} fields each"


async def positions_on_chain(world: DemoWorld, play: MarketPlay) -> list[tuple[PositionAccount, int]]:
    """Return every position account of a market, with the account's balance in lamports. Raises ChainError."""
    infos = await _accounts(world, play, PositionAccount)
    return [(world.program.accounts.position(info), info.lamports) for info in infos]


async def _accounts(
    world: DemoWorld, play: MarketPlay, kind: type[PositionAccount | VoteRecord]
) -> list[AccountInfo]:
    """Return the program's accounts of one kind that belong to a market. Both kinds hold its address at byte 8."""
    memcmp = [(0, world.program.accounts.discriminator(kind)), (8, bytes(to_pubkey(play.address)))]
    return await world.rpc.get_program_accounts(world.program.address, memcmp=memcmp)


async def _positions_agree(world: DemoWorld) -> str:
    count = 0
    for play in world.markets:
        chain = {p.user: p for p, _ in await positions_on_chain(world, play)}
        holders = (await world.api.get(f"/api/markets/{play.id}/holders", limit=200))["holders"]
        index = {row["wallet"]: row for row in holders}
        if chain.keys() != index.keys():
            raise ZmartError(f"{play.label}: {len(chain)} positions on chain, {len(index)} in the index")
        for wallet, account in chain.items():
            row = index[wallet]
            pairs = {
                "shares_yes": (account.shares_yes, row["shares_yes"]),
                "shares_no": (account.shares_no, row["shares_no"]),
                "total_invested": (account.total_invested, row["total_invested"]),
                "has_claimed": (account.has_claimed, row["has_claimed"]),
                "claimed": (account.claimed_amount, row["claimed_lamports"]),
            }
            differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
            if differ:
                raise ZmartError(f"{play.label}, {wallet}: chain and index differ: {differ}")
            count += 1
    return f"{count} positions, 5 fields each"


class _MetaFee(msgspec.Struct):
    fee: int


class _KeysMessage(msgspec.Struct):
    accountKeys: list[str]  # noqa: N815  # the RPC's own name


class _TransactionKeys(msgspec.Struct):
    message: _KeysMessage


class _TransactionFee(msgspec.Struct):
    meta: _MetaFee
    transaction: _TransactionKeys


async def _lamports_conserved(world: DemoWorld) -> str:
    """Check that the airdropped lamports equal the sum of wallets, accounts, protocol fees and network fees."""
    wallets = [Address(user.wallet) for user in world.users]
    balances = sum(await asyncio.gather(*(world.rpc.get_balance(wallet) for wallet in wallets)))
    held = protocol = 0
    for play in world.markets:
        account, lamports = await world.account(play)
        protocol += account.accumulated_protocol_fees - account.notes.owed_protocol
        held += lamports + sum(amount for _, amount in await positions_on_chain(world, play))
        held += sum(info.lamports for info in await _accounts(world, play, VoteRecord))
    fees = await _network_fees(world, wallets)
    airdropped = FUNDS_LAMPORTS * len(wallets)
    accounted = balances + held + protocol + fees
    if airdropped != accounted:
        raise ZmartError(
            f"{airdropped} lamports were airdropped, {accounted} are accounted for ({airdropped - accounted} missing)"
        )
    parts = {"wallets": balances, "accounts": held, "protocol": protocol, "network": fees}
    return f"{airdropped / 1e9:.0f} SOL = " + " + ".join(
        f"{name} {part / 1e9:.6f}" for name, part in parts.items()
    )


async def _network_fees(world: DemoWorld, wallets: list[Address]) -> int:
    """Return the network fees in lamports that the wallets paid, summed over their transactions on chain."""
    signatures: set[Signature] = set()
    for wallet in wallets:
        signatures |= {info.signature for info in await world.rpc.get_signatures_for_address(wallet)}
    raw = await asyncio.gather(*(world.rpc.get_transaction_json(signature) for signature in signatures))
    total = 0
    for answer in raw:
        if answer is None:
            raise ZmartError("a transaction of a wallet is not on chain any more")
        fetched = msgspec.json.decode(answer, type=_TransactionFee)
        if fetched.transaction.message.accountKeys[0] in wallets:
            total += fetched.meta.fee
    return total


async def _replay_agrees(world: DemoWorld) -> str:
    channels = [f"{kind}:{play.id}" for play in world.markets for kind in ("trades", "votes", "discussions")]
    return await compare_with_replay(world.where.socket, world.socket, channels)


def trades_of_messages(messages: Sequence[Json]) -> tuple[list[Json], bool]:
    """Return the trades that remain after a channel's messages, and whether they came in the order of the chain.

    They did if all messages are "created". A trade that was updated got its position in its block only later.
    """
    trades: dict[object, Json] = {}
    for data in messages:
        if data["action"] == "deleted":
            trades.pop(data["id"], None)
        else:
            trades[data["id"]] = data
    return list(trades.values()), all(data["action"] == "created" for data in messages)


def trades_agree(index: Sequence[Json], received: Sequence[Json], in_order: bool) -> bool:
    """Return whether the index has exactly the received trades, in the same order.

    With `in_order` False, the order of trades in one slot does not matter.
    """
    indexed_rows, received_rows = [
        [[trade[name] for name in _TRADE_NAMES] for trade in trades] for trades in (index, received)
    ]
    if in_order:
        return indexed_rows == received_rows
    return by_slot(indexed_rows) == by_slot(sorted(received_rows))


def by_slot(rows: Sequence[list[Json]]) -> list[list[list[Json]]]:
    """Group neighbouring rows whose first value, the slot, is the same, and sort each group."""
    return [sorted(group) for _, group in groupby(rows, key=itemgetter(0))]


async def _tape_agrees(world: DemoWorld) -> str:
    count = 0
    for play in world.markets:
        trades = (await world.api.get(f"/api/markets/{play.id}/trades", limit=200))["trades"]
        current, in_order = trades_of_messages(world.socket.displayed(f"trades:{play.id}"))
        if not trades_agree(trades, current, in_order):
            raise ZmartError(
                f"{play.label}: {len(trades)} trades in the index, {len(current)} on the socket, not the same"
            )
        count += len(trades)
    return f"{count} trades in the same order"


async def _timeline_in_order(world: DemoWorld) -> str:
    a, b, c = world.markets
    expected = {
        a.label: ["MarketCreated", "ProposalAggregated", "ProposalApproved", "MarketActivated", "MarketResolved",
                  "MarketFinalized", "LiquidityWithdrawn"],
        b.label: ["MarketCreated", "ProposalAggregated", "ProposalApproved", "MarketActivated", "MarketResolved",
                  "DisputeInitiated", "MarketFinalized", "LiquidityWithdrawn"],
        c.label: ["MarketCreated", "MarketCancelled", "LiquidityWithdrawn"],
    }  # fmt: skip
    for play in world.markets:
        answer: Json = await world.api.get(f"/api/markets/{play.id}/timeline", limit=200)
        names = [row["event"] for row in answer["timeline"]]
        steps = [name for name in names if name in expected[play.label]]
        if steps != expected[play.label]:
            raise ZmartError(f"{play.label}: the timeline is {names}")
    return "three lives, every step where it belongs"


async def _gap_free(world: DemoWorld) -> str:
    """Wait until the index is gap-free through the chain's present slot. Raises ZmartError after 25 s."""
    end = await world.rpc.get_slot()
    status = await until(
        lambda: world.api.get("/api/status"),
        lambda status: int(status["gap_free_through_slot"]) >= end,
        f"a gap-free index through slot {end}",
    )
    return f"through slot {status['gap_free_through_slot']}"


async def _tallies_hold(world: DemoWorld) -> str:
    """Verify every tally as `zmart verify tally` does, and compare the API's counts with those on chain."""
    verified = 0
    for play in world.markets:
        evidence = await gather(world.rpc, world.program, MarketId(play.id))
        log = await _log_of(world, MarketId(play.id))
        response = await world.api.get(f"/api/votes/{play.id}")
        for anchor in evidence.anchors.values():
            report = verify_tally(evidence, anchor, log)
            if not report.holds:
                broken = [f.text for f in report.findings if f.verdict is Verdict.BROKEN]
                raise ZmartError(f"{play.label}, {anchor.kind.value}: {'; '.join(broken)}")
            if (counts := _counts_of(response, anchor)) != anchor.tally:
                raise ZmartError(
                    f"{play.label}, {anchor.kind.value}: on chain {anchor.tally}, in the API {counts}"
                )
            verified += 1
    return f"{verified} tallies counted again from their logs"


async def _log_of(world: DemoWorld, market_id: MarketId) -> list[bytes]:
    """Read a market's log of votes as `zmart verify tally` does; if that fails, wait for the gateway and read again."""
    try:
        return await from_api(world.api.base_url, market_id)
    except ZmartError:
        await world.api.get("/api/status")  # waits until the gateway answers
        return await from_api(world.api.base_url, market_id)


def _counts_of(response: Json, anchor: Anchor) -> Tally:
    if anchor.kind is VoteKind.PROPOSAL:
        counts = response["proposal_votes"]
        return Tally(counts["likes"], counts["dislikes"])
    counts = response["dispute_votes"]
    return Tally(counts["agrees"], counts["disagrees"])
