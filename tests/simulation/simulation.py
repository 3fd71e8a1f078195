"""One run of the simulation: a chain, nodes, a database, the services as processes, users, faults and checkers.

In the safety phase, faults happen as the options say, and the invariants must hold at every look. In the liveness phase
there are no new faults, every process is alive and reachable, and everything that was begun must be completed.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import service_processes as services
import structlog
from checkers import (
    DecisionChecker,
    EffectChecker,
    FeedChecker,
    IndexChecker,
    MoneyChecker,
    Violation,
)
from deliveries import Deliveries
from ends import check_the_end
from market_life import HOUR, SOL, MarketLife
from options import Options, rng
from processes import SimulatedProcess, track_tasks, within
from rpc_gate import RpcGate, gated_rpc
from simulated_chain import LandedTransaction, SimulatedChain
from simulated_node import SimulatedNode
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction
from store_gate import Gate, backends_gone, gated_store
from virtual_time import VirtualClock, VirtualLoop, virtual_time

from faults import Faults
from zmart.chain import compose
from zmart.chain.accounts import AccountInfo
from zmart.chain.program import Program
from zmart.settings import Settings
from zmart.store.market_work import WAITS_FOR_INDEX
from zmart.store.pool import Pool

_KEPT_LINES = 4_000
_IDLE_S = {
    "scan": 8 * HOUR,
    "work": 8 * HOUR,
    "confirm": 8 * HOUR,
    "finality": 8 * HOUR,
    "care": 24 * HOUR,
    "tick": 3 * HOUR,
    "resume": 6 * HOUR,
    "waiting": 8 * HOUR,
}
_AT_ONCE = ("scan", "work", "confirm")
_SELDOM_S = {"care": 12 * HOUR, "resume": HOUR}
_PATIENCE_H = 24 * 9
_FINAL_S = 20.0
_LOOK_S = 2 * HOUR
_BARELY_BEGUN = 30
_WAITING_S = 60.0
_LIST_S = 240.0
_WAITS = f"SELECT 1 FROM market_work WHERE status = '{WAITS_FOR_INDEX}' LIMIT 1"
_REJECTED = "SELECT market_id FROM market_work WHERE job = 'proposal' AND status = 'rejected'"


@dataclass(frozen=True)
class _Wakes:
    """A wake signal that is set once; `woken()` sets it and returns the next signal."""

    number: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def woken(self) -> _Wakes:
        self.heard.set()
        return _Wakes(self.number + 1)


@dataclass
class Report:
    """The result of a run; `digest`, of the whole trace, is equal for two runs of one seed at one commit.

    `lives` counts the markets' lives that ended, `tail` holds the last lines of the trace.
    """

    options: Options
    violations: list[Violation] = field(default_factory=list)
    digest: str = ""
    lives: int = 0
    virtual_h: float = 0.0
    transactions: int = 0
    rpc_calls: int = 0
    tail: list[str] = field(default_factory=list)

    def printed(self) -> str:
        lines = [f"seed {self.options.seed}", self.options.printed()]
        lines += [f"  VIOLATION at {v.at_s / HOUR:.2f} h: {v.kind}: {v.text}" for v in self.violations]
        return "\n".join(lines)


class Simulation:
    """The world of a run; `run()` needs a VirtualLoop, virtual time and the gates, which `simulate()` sets up."""

    def __init__(
        self, options: Options, database_url: str, keys: Path, clock: VirtualClock, gate: Gate
    ) -> None:
        self.only = ""
        self.options, self.clock, self.gate = options, clock, gate
        self.url, self.key_folder = database_url, keys
        self.program = Program.from_settings(Settings(_env_file=None))
        self.chain = SimulatedChain(clock, self.program)
        names = ("one", "two", "honest")
        self.nodes = {name: SimulatedNode(self.chain, name) for name in names}
        self.rpc = RpcGate(clock, self.nodes)
        self.keys = {n: Keypair.from_seed(n.encode().ljust(32, b".")) for n in ("admin", "backend", "fees")}
        self.users = [
            Keypair.from_seed((b"user %d" % n).ljust(32, b".")) for n in range(10, 10 + options.voters)
        ]
        self.numbers = itertools.count(1)
        self.report = Report(options)
        self.faults_over = False
        self.processes: dict[str, SimulatedProcess] = {}
        self.lives: list[MarketLife] = []
        self.markets: dict[str, MarketLife] = {}
        self._rejected: set[str] = set()
        self._over = False
        self._wakes = {name: _Wakes() for name in ("landing", "all")}
        self._look_again_at = 0.0
        self._decided = False
        self._digest = hashlib.sha256()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._chance = {name: rng(options.seed, name) for name in ("landing", "pace", "processes")}
        self._gateway: services.Gateway | None = None
        self.observer: Pool
        self.faults = Faults(self)

    # --- the trace and the violations

    def note(self, text: str) -> None:
        """Add a line to the trace and to its digest."""
        line = f"{self.clock.seconds:.3f} {text}"
        self._digest.update(line.encode())
        self._lines.append(line)

    def violated(self, kind: str, text: str) -> None:
        if not any(v.kind == kind and v.text == text for v in self.report.violations):
            self.note(f"VIOLATION {kind}: {text}")
            self.report.violations.append(Violation(kind, text, self.clock.seconds))

    @property
    def is_lost(self) -> bool:
        """Whether the run stops: there is a violation whose kind begins with `only`."""
        return any(v.kind.startswith(self.only) for v in self.report.violations)

    def number_of(self, market_id: str) -> int:
        return next((life.number for life in self.lives if life.id == market_id), -1)

    def is_rejected(self, market_id: str) -> bool:
        return market_id in self._rejected

    def thresholds(self) -> tuple[int, int]:
        address = self.program.addresses.global_config()
        result = self.chain.account(address)
        info = AccountInfo(
            address=address, owner=str(result.owner), lamports=result.lamports, data=bytes(result.data)
        )
        config = self.program.accounts.global_config(info)
        return config.proposal_approval_threshold, config.dispute_success_threshold

    # --- the run

    async def run(self) -> Report:
        track_tasks(asyncio.get_running_loop())
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        self._genesis()
        self.observer = await Pool.open(self.url, 2)
        admin = await asyncpg.connect(self.url)
        supervisors = [asyncio.create_task(self._supervise(*item, admin)) for item in self._services()]
        lives = [asyncio.create_task(life.run()) for life in self.lives]
        others = [asyncio.create_task(self.faults.run()), asyncio.create_task(self._list_for_what_waits())]
        try:
            await self._play(lives)
        finally:
            self._over = True
            for task in [*others, *lives, *supervisors]:
                task.cancel()
            await asyncio.gather(*supervisors, *lives, *others, return_exceptions=True)
            for process in self.processes.values():
                process.bury()
            await self.observer.close()
            await admin.close()
            for _ in range(10):  # sockets are closed in the following turns of the loop
                await asyncio.sleep(0)
        return self._reported()

    async def _play(self, lives: list[asyncio.Task]) -> None:
        options = self.options
        while self.clock.seconds < options.faults_end_h * HOUR and not all(life.done for life in self.lives):
            await asyncio.sleep(_LOOK_S)
            await self.look()
            if self.is_lost:
                return
        self._heal()
        await self._settle(lives)
        if not self.is_lost:
            await check_the_end(self)
            await EffectChecker().look(self)

    async def _settle(self, lives: list[asyncio.Task]) -> None:
        """Run the liveness phase until every life is over and the services have had time to finish."""
        until = self.clock.seconds + _PATIENCE_H * HOUR
        while self.clock.seconds < until and not self.is_lost:
            self.wake()
            await asyncio.sleep(_LOOK_S)
            await self.look()
            for task in lives:
                if task.done() and task.exception():
                    raise task.exception()
            if all(task.done() for task in lives):
                break
        for wait_h in (0.2, 0.2, 1.1, 1.1):  # a paused decision is tried again after an hour at most
            self.wake()
            await asyncio.sleep(wait_h * HOUR)

    async def look(self) -> None:
        """Check every invariant that must hold in the middle of a run."""
        self.chain.catch_up()
        for checker in self._checkers:
            await checker.look()
        self._rejected = {row[0] for row in await self.observer.fetch(_REJECTED)}

    def _heal(self) -> None:
        self.faults_over = True
        self.faults.heal()
        self.deliveries.honest = True
        self.note("faults are over")

    # --- the world

    def _genesis(self) -> None:
        options, chain = self.options, self.chain
        for wallet in (*self.keys.values(), *self.users):
            chain.fund(wallet, 10_000 * SOL)
        names = {name: str(key.pubkey()) for name, key in self.keys.items()}
        make = self.program.instructions.initialize_global_config(
            names["admin"], names["backend"], names["fees"]
        )
        message = compose.compile(self.keys["admin"].pubkey(), [make], chain.blockhash(chain.slot))
        chain.submit(compose.sign(message, [self.keys["admin"]]), 0)
        self.deliveries = Deliveries(
            options, rng(options.seed, "webhook"), self.program, self._deliver, self.note
        )
        self._decisions, money = DecisionChecker(self), MoneyChecker(self)
        self._checkers = (self._decisions, IndexChecker(self), FeedChecker(self))
        chain.on_landing += [self._landed, self._decisions.landed, money.landed, self.deliveries.landed]
        chain.on_fork.append(lambda tx: self.note(f"fork takes back {tx.signature[:8]} of slot {tx.slot}"))
        for number in range(options.markets):
            life = MarketLife(self, number, rng(options.seed, f"life {number}"))
            self.lives.append(life)
            self.markets[life.address] = life
        for name in ("one", "two"):
            self.nodes[name].fate = self._fate
        chain.catch_up()

    def _landed(self, tx: LandedTransaction) -> None:
        self.note(f"landed {tx.signature[:8]} in slot {tx.slot} {tx.err or ''}")
        self.report.transactions += 1
        self._wake_for_a_landing()

    def _fate(self) -> int | None:
        """Draw after how many slots a transaction lands; None: it never does."""
        chance = self._chance["landing"]
        if not self.faults_over and chance.random() < self.options.lost_transactions:
            return None
        return chance.randint(1, 1 if self.faults_over else self.options.landing_slots)

    def submit(self, tx: VersionedTransaction) -> str:
        """Send a transaction as a user's wallet does, which may be lost; return its signature."""
        if (fate := self._fate()) is not None:
            self.chain.submit(tx, fate)
        return str(tx.signatures[0])

    async def vote_by_statement(self, market_id, kind, vote, voter) -> str | None:
        """Send a signed vote to the gateway; return "" when accepted, else why not, None when there was no answer."""
        return await self._asked(lambda gateway: gateway.vote(market_id, kind, vote, voter))

    async def _deliver(self, body: bytes) -> None:
        if await self._asked(lambda gateway: gateway.deliver(body)) is not None:
            self.wake()

    async def _asked(self, request):
        """Run a request in the gateway's process; return its result, None if the process is down or killed."""
        process, gateway = self.processes.get("gateway"), self._gateway
        if process is None or gateway is None or process.dead.is_set():
            return None
        task = within(process, request(gateway))
        await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    # --- processes

    def wake(self) -> None:
        """Wake all parts of all services."""
        self._wakes = {name: signal.woken() for name, signal in self._wakes.items()}

    def _wake_for_a_landing(self) -> None:
        """Wake the parts that list, fold and confirm now, and all others in 20 s, when the transaction is final."""
        self._wakes["landing"] = self._wakes["landing"].woken()
        if self.clock.seconds >= self._look_again_at:
            self._look_again_at = self.clock.seconds + _FINAL_S
            asyncio.get_running_loop().call_later(_FINAL_S, self.wake)

    async def _list_for_what_waits(self) -> None:
        """Wake the indexer every few minutes while a decision waits for the index.

        A real indexer lists an idle chain, too, so decisions do not depend on the next landing.
        """
        while True:
            await asyncio.sleep(_LIST_S)
            if self._decided and await self.observer.fetchval(_WAITS):
                self._wake_for_a_landing()
            self._decided = False

    async def next_ring(self) -> None:
        await self._wakes["landing"].heard.wait()

    def ring_in(self, seconds: float) -> None:
        """Wake all services after `seconds`, and once more up to ten minutes later: something is due then."""
        for chance in (0, self._chance["pace"].uniform(0, 600)):
            asyncio.get_running_loop().call_later(seconds + chance, self.wake)

    def _services(self) -> Iterator[tuple[str, Callable[[Settings, services.Pace], Awaitable[None]]]]:
        yield "indexer", services.indexer
        for number in range(self.options.aggregators):
            yield f"aggregator {number}", services.aggregator
        for number in range(self.options.monitors):
            yield f"monitor {number}", services.monitor
        yield "gateway", self._gateway_process

    async def _gateway_process(self, settings: Settings, pace: services.Pace) -> None:
        self._gateway = await services.Gateway.open(settings, self.program, self.keys["backend"])
        await asyncio.get_running_loop().create_future()

    def _pace(self, process: str) -> services.Pace:
        seen: dict[str, int] = {}
        chance = self._chance["pace"]
        period_s = self.options.scan_every_s if process == "indexer" else self.options.tick_every_s
        periods_s = {"waiting": min(period_s, _WAITING_S)}

        async def pace(part: str) -> None:
            kind = "landing" if part in _AT_ONCE else "all"
            if seen.get(part) == self._wakes[kind].number:
                try:
                    async with asyncio.timeout(_IDLE_S[part]):
                        await self._wakes[kind].heard.wait()
                except TimeoutError:
                    pass
            await asyncio.sleep(
                chance.uniform(0.1, 2.0)
                + chance.uniform(0, periods_s.get(part, period_s) + _SELDOM_S.get(part, 0.0))
            )
            self._decided = self._decided or process != "indexer"
            seen[part] = self._wakes[kind].number
            self.note(f"{process} {part}")

        return pace

    async def _supervise(self, name: str, main, admin: asyncpg.Connection) -> None:
        pause_s = 60.0
        while not self._over:
            process = self.processes[name] = self.faults.new_process(name)
            task = self._start(process, main)
            killed = asyncio.create_task(process.dead.wait())
            try:
                await asyncio.wait({task, killed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                killed.cancel()
                self._end(process, task)
                pids = process.bury()
            await asyncio.gather(task, return_exceptions=True)
            await backends_gone(admin, pids)
            pause_s = min(2 * pause_s, HOUR) if process.operations < _BARELY_BEGUN else 60.0
            await asyncio.sleep(self._chance["processes"].uniform(0.5, pause_s))

    def _start(self, process: SimulatedProcess, main) -> asyncio.Task:
        settings = services.settings_of(self.url, self.key_folder, ["one", "two"], **self._policy())
        self.note(f"{process.name} starts")
        return within(process, main(settings, self._pace(process.name)))

    def _policy(self) -> dict[str, object]:
        options = self.options
        return {
            "min_proposal_votes": options.min_proposal_votes,
            "min_dispute_votes": options.min_dispute_votes,
            "proposal_ttl_days": options.ttl_days,
            "dispute_voting_hours": options.dispute_voting_hours,
        }

    def _end(self, process: SimulatedProcess, task: asyncio.Task) -> None:
        if process.name == "gateway":
            self._gateway = None
        problem = task.exception() if task.done() and not task.cancelled() else None
        how = "killed" if process.dead.is_set() else f"ended: {_text(problem)}"
        self.note(f"{process.name} {how} after {process.operations} operations")
        if problem is not None and not services.is_expected(problem):
            self.violated("crash", f"{process.name}: {_text(problem)}")

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict) -> None:
        problem = context.get("exception")
        if problem is not None and not services.is_expected(problem):
            self.violated("crash", f"{context.get('message')}: {problem!r}")

    def _reported(self) -> Report:
        report = self.report
        report.digest = self._digest.hexdigest()[:16]
        report.lives = sum(life.done for life in self.lives)
        report.virtual_h = self.clock.seconds / HOUR
        report.rpc_calls = self.rpc.calls
        report.tail = list(self._lines)
        return report


def _text(problem: BaseException | None) -> str:
    if isinstance(problem, BaseExceptionGroup):
        return "; ".join(map(_text, problem.exceptions))
    return f"{type(problem).__name__}: {str(problem)[:200]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing within the block, and restore the state of the global random generator after it."""
    state, config = random.getstate(), structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False
    )
    try:
        yield
    finally:
        structlog.configure(**config)
        random.setstate(state)


def simulate(options: Options, database_url: str, keys: Path, *, only: str = "") -> Report:
    """Play one run in a fresh database made from the template with virtual time, and return its report.

    `only`: stop only at a violation whose kind begins with this text.
    """
    clock = VirtualClock()
    clock.host_ahead_s = options.host_ahead_s
    gate = Gate(clock)
    loop = VirtualLoop(clock)
    with _quiet(), virtual_time(clock), gated_store(gate):
        random.seed(options.seed)
        world = Simulation(options, database_url, keys, clock, gate)
        world.only = only
        try:
            with gated_rpc(world.rpc):
                return loop.run_until_complete(world.run())
        except BaseException:
            print(f"seed {options.seed}\n{options.printed()}", file=sys.stderr)
            raise
        finally:
            loop.close()
