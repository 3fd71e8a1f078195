"""The real services as processes of the simulation; only this module depends on how services are called.

The services' endless loops are not run, since they would ask an idle chain every two seconds for weeks. Instead, each
turn of a loop runs soon after an event, or else at a slow pace, to its end or until the process is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from inspect import signature as signature_of
from pathlib import Path

import msgspec
from solders.keypair import Keypair

from zmart.chain.program import Program
from zmart.chain.rpc import Rpc
from zmart.decisions import takeover
from zmart.decisions.context import DecisionContext
from zmart.decisions.workers import clear_finished
from zmart.errors import StoreError, ZmartError
from zmart.market.types import MarketId, VoteKind, Wallet
from zmart.services.aggregator.service import _ACTIONS as AGGREGATES
from zmart.services.aggregator.service import Aggregator
from zmart.services.contract import Scope
from zmart.services.indexer.audit import AuditReport, audit
from zmart.services.indexer.engine import Engine
from zmart.services.indexer.maintenance import Maintenance
from zmart.services.indexer.worker import BatchOutcome
from zmart.services.monitor.service import _ACTIONS as FINALIZES
from zmart.services.monitor.service import Monitor
from zmart.services.webhook import WebhookReceiver, WebhookRefusal
from zmart.settings import Settings
from zmart.store.market_work import Job
from zmart.store.pool import Pool
from zmart.votes.casting import cast_vote
from zmart.votes.command import AcceptancePolicy, CastVote

try:
    from zmart.decisions import waiting
except ImportError:  # earlier commits have no decisions that wait for the index
    waiting = None

Pace = Callable[[str], Awaitable[None]]
"""An async function that returns when the named part of a process should take its next turn."""


def settings_of(database_url: str, keys: Path, nodes: list[str], **more: object) -> Settings:
    """Return the settings of a service; `nodes` are names of nodes: the preferred one, then the second endpoint."""
    first, *others = nodes
    values: dict[str, object] = {
        "zmart_env": "local",
        "database_url": database_url,
        "database_pool_size": 4,
        "helius_rpc_url": f"http://{first}.node" if others else "",
        "solana_rpc_url": f"http://{(others or [first])[0]}.node",
        "backend_keypair_path": keys / "backend.json",
        "admin_keypair_path": keys / "admin.json",
        "indexer_logs_subscribe": False,
        "indexer_audit_interval_s": 0,
        "indexer_batch_size": 50,
        "finalize_safety_s": 60,
    }
    known = Settings.model_fields
    expected = {name: value for name, value in (values | more).items() if name in known}
    return Settings(_env_file=None, **expected)


async def indexer(settings: Settings, pace: Pace) -> None:
    """Run the indexer's loops until cancelled."""
    engine = await Engine.open(settings)
    maintenance = Maintenance(engine, 0)

    async def work() -> None:
        for _ in range(200):
            fetched = await engine.fetcher.turn()
            worked = await engine.worker.turn() is BatchOutcome.WORKED
            if not fetched and not worked:
                return

    confirmer = getattr(engine, "confirmer", None)  # earlier commits have none
    confirming = [_turns("confirm", confirmer.turn, pace)] if confirmer else []
    await _together(
        *confirming,
        _turns("scan", engine.scanner.scan, pace),
        _turns("work", work, pace),
        _turns("finality", engine.finality.check, pace),
        _turns("care", maintenance.run_once, pace),
    )


async def aggregator(settings: Settings, pace: Pace) -> None:
    context = await DecisionContext.open(settings)
    service = Aggregator(settings, context, None)

    async def tick() -> None:
        await service.decide_due()
        await service.finish()
        await clear_finished(context.pool)

    async def resume() -> None:
        await takeover.resume_abandoned_once(context, AGGREGATES, service._resume, takeover.UNTOUCHED_S)
        await service.finish()

    await _together(
        _turns("tick", tick, pace),
        _turns("resume", resume, pace),
        _turns("waiting", _waiting(context.pool, (Job.PROPOSAL,), service.decide_due, service.finish), pace),
    )


async def monitor(settings: Settings, pace: Pace) -> None:
    context = await DecisionContext.open(settings)
    service = Monitor(settings, context)

    async def tick() -> None:
        await service.finalize_due()
        await service.finish()
        await clear_finished(context.pool)

    async def resume() -> None:
        await takeover.resume_abandoned_once(context, FINALIZES, service._resume, takeover.UNTOUCHED_S)
        await service.finish()

    jobs = (Job.FINALIZE, Job.DISPUTE)
    await _together(
        _turns("tick", tick, pace),
        _turns("resume", resume, pace),
        _turns("waiting", _waiting(context.pool, jobs, service.finalize_due, service.finish), pace),
    )


def _waiting(
    pool: Pool,
    jobs: Sequence[Job],
    decide: Callable[[Sequence[MarketId]], Awaitable[None]],
    finish: Callable[[], Awaitable[None]],
) -> Callable[[], Awaitable[None]]:
    """Return a turn that resumes decisions whose index has become complete."""

    async def look() -> None:
        if waiting is not None:
            await waiting.resume_ready(pool, jobs, decide)
            await finish()

    return look


class Gateway:
    """The parts of the gateway that accept votes and webhook deliveries."""

    def __init__(self, settings: Settings, pool: Pool, program: Program, backend: Keypair) -> None:
        self.pool = pool
        self._program = program
        self._policy = AcceptancePolicy(
            statement_required=True,
            dispute_voting_s=settings.dispute_voting_hours * 3_600,
            receipt_signer=backend,
        )
        self._webhook = WebhookReceiver(pool, settings)

    @classmethod
    async def open(cls, settings: Settings, program: Program, backend: Keypair) -> Gateway:
        return cls(settings, await Pool.open(settings.require("database_url"), 2), program, backend)

    async def vote(self, market_id: str, kind: VoteKind, vote: bool, voter: Keypair) -> str | None:
        """Cast a vote by a signed statement; return "" when it was accepted, else why not.

        None while the database is unavailable.
        """
        now = datetime.fromtimestamp(time.time(), UTC)
        unsigned = CastVote(
            program=self._program.address,
            market_id=MarketId(market_id),
            kind=kind,
            vote=vote,
            wallet=Wallet(str(voter.pubkey())),
            received_at=now,
        )
        text = unsigned.statement_at(int(now.timestamp() * 1000)).text()
        signature = str(voter.sign_message(text.encode()))
        try:
            command = msgspec.structs.replace(unsigned, statement=text, signature=signature)
            await cast_vote(self.pool, command, self._policy)
        except StoreError:
            return None
        except ZmartError as problem:
            return f"{type(problem).__name__}: {problem}"
        return ""

    async def deliver(self, body: bytes) -> int:
        """Give a body to the webhook's receiver; return the HTTP status of the answer."""

        async def receive() -> Scope:
            return {"type": "http.request", "body": body, "more_body": False}

        answer = await self._webhook.receive({"type": "http", "headers": []}, receive)
        return answer.status if isinstance(answer, WebhookRefusal) else 200


async def audited(pool: Pool, rpc: Rpc, program: Program) -> AuditReport:
    """Compare the index with the accounts on chain, by the pricing model "reference" where `audit` takes one."""
    rules = {"pricing": "reference"}
    more = {name: rules[name] for name in rules.keys() & signature_of(audit).parameters.keys()}
    return await audit(pool, rpc, program, **more)


def is_expected(problem: BaseException) -> bool:
    """Return whether a service may end with this exception at its start, after which a supervisor restarts it."""
    if isinstance(problem, BaseExceptionGroup):
        return all(map(is_expected, problem.exceptions))
    known = (ZmartError, OSError, TimeoutError, asyncio.CancelledError)
    return isinstance(problem, known)


async def _turns(name: str, turn: Callable[[], Awaitable[object]], pace: Pace) -> None:
    """Take a turn at each pace, as the services' loops do; a turn that RPC or database failed is repeated later."""
    while True:
        await pace(name)
        try:
            await turn()
        except (ZmartError, OSError, TimeoutError):
            continue


async def _together(*loops: Awaitable[None]) -> None:
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop)
