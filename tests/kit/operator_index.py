"""Helpers of the operator's drills about the index: votes on chain, and an indexer with another RPC or another IDL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import asyncpg
from solders.transaction import VersionedTransaction

from kit.operator import Operator
from kit.operator_markets import with_settings
from kit.rpc_proxy import Call, Edit, Fault, Proxy, Refuse, Say, Script
from kit.waiting import until
from zmart.chain import compose
from zmart.local.demo.user import DemoUser
from zmart.local.demo.world import DemoWorld, MarketPlay
from zmart.market.types import MarketId, Wallet

QUOTA = "max usage reached"
_VOTES = "SELECT count(*) FROM onchain_votes WHERE market_id = $1 AND wallet = $2"


def shows_no_transaction(call: Call) -> Fault | None:
    """Behave as an RPC whose quota is used up: it lists transactions, but refuses to return any."""
    return Refuse(-32429, QUOTA) if call.method == "getTransaction" else None


def shows_nothing_as_final(call: Call) -> Fault | None:
    """Behave as an RPC that has lost the statuses, and whose final transactions are behind its other answers."""
    if call.method == "getSignatureStatuses":
        return Edit(_without_statuses)
    is_final = call.method == "getTransaction" and call.params[1].get("commitment") == "finalized"
    return Say(None) if is_final else None


def _without_statuses(statuses):
    return {**statuses, "value": [None] * len(statuses["value"])}


def keeps_no_logs(call: Call) -> Fault | None:
    """Behave as a node that returns transactions without their logs."""
    return Edit(_without_logs) if call.method == "getTransaction" else None


def _without_logs(transaction):
    if transaction is not None:
        transaction["meta"]["logMessages"] = None
    return transaction


@asynccontextmanager
async def indexer_before(operator: Operator, script: Script, **changes: str) -> AsyncIterator[Proxy]:
    """Run the indexer within the block with a single RPC, a proxy that behaves by the script; yield the proxy."""
    async with (
        Proxy.before(operator.settings.solana_rpc_url, script) as proxy,
        with_settings(operator, "indexer", solana_rpc_url=proxy.url, **changes),
    ):
        yield proxy


def other_idl(folder: Path, kind: str, name: str) -> str:
    """Write an IDL in which one instruction or event has another discriminator; return the file's path.

    An indexer with that IDL does not know the item, as if it were new in the program. `kind` is "instructions" or
    "events", `name` the item's name.
    """
    idl = json.loads(resources.files("zmart.chain").joinpath("data/zmart_core.idl.json").read_text())
    [item] = [each for each in idl[kind] if each["name"] == name]
    item["discriminator"] = [255] * 8
    path = folder / "zmart_core.idl.json"
    path.write_text(json.dumps(idl))
    return str(path)


async def voted(world: DemoWorld, market: MarketPlay, user: DemoUser) -> str:
    """Send a vote for the proposal through the gateway; return its signature once it has landed.

    The index may not have it yet.
    """
    return (await user.relay(await _vote_of(world, market, user))).signature


async def voted_elsewhere(world: DemoWorld, market: MarketPlay, user: DemoUser) -> str:
    """Send a vote for the proposal to the RPC, without the gateway; return its signature once it has landed."""
    signature = await world.rpc.send_raw_transaction(bytes(await _vote_of(world, market, user)))
    await until(lambda: world.rpc.get_transaction_json(signature))
    return signature


async def _vote_of(world: DemoWorld, market: MarketPlay, user: DemoUser) -> VersionedTransaction:
    vote = world.program.instructions.submit_proposal_vote(Wallet(user.wallet), MarketId(market.id), True)
    blockhash = (await world.rpc.get_latest_blockhash()).blockhash
    return compose.sign(compose.compile(user.key.pubkey(), [vote], blockhash), [user.key])


async def is_indexed(operator: Operator, market: MarketPlay, user: DemoUser) -> bool:
    """Return whether the database has the wallet's vote on chain about the market."""
    return bool(await asked(operator, _VOTES, market.id, user.wallet))


async def asked(operator: Operator, query: str, *arguments: object) -> object:
    """Return the first value of a query on the stack's database; None when it has no row."""
    database = await asyncpg.connect(operator.settings.require("database_url"))
    try:
        return await database.fetchval(query, *arguments)
    finally:
        await database.close()


async def becomes_indexed(operator: Operator, market: MarketPlay, user: DemoUser) -> None:
    """Wait until the database has the wallet's vote on chain about the market."""
    await until(lambda: is_indexed(operator, market, user), within_s=60, every_s=0.2)
