"""Markets' whole lives on the local stack, as users see them by HTTP, socket and wallets, and as traces show them."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Iterator

import httpx
import pytest

from kit.collector import CollectedSpan, Collector, collecting
from kit.local_stack import stack_in
from kit.soak import day, month, verdicts
from kit.waiting import wait_for
from zmart.cli.log_filter import LogFilter
from zmart.cli.stack_logs import last_lines
from zmart.local.demo.play import play
from zmart.local.demo.report import DemoReport
from zmart.market.types import MarketId
from zmart.services.indexer.audit import audit
from zmart.services.indexer.engine import opened
from zmart.services.indexer.rebuild import rebuild
from zmart.settings import Settings
from zmart.store.pool import Pool
from zmart.traces import identity_of
from zmart.version import VERSION, commit

EVENTS = "SELECT name FROM chain_events WHERE market_id = $1 ORDER BY slot, index_in_block, ordinal"
SINGLE = {"SharesBought", "SharesSold", "WinningsClaimed", "ProposalVoteSubmitted", "DisputeVoteSubmitted"}


SERVER = 2
"""The number of the span kind "server" in OTLP."""
TRADES = "SELECT DISTINCT signature FROM trades ORDER BY signature"
INTENTS = "SELECT signature FROM intents WHERE state = 'landed' AND signature IS NOT NULL"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Run the collector to which the services export their traces; fails when a request violated the protocol."""
    with collecting() as here:
        yield here
    assert here.problems == []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Settings]:
    """Run the whole local stack, which exports its traces to the collector; return its settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with stack_in(tmp_path_factory.mktemp("home")) as settings:
            yield settings


@pytest.fixture(scope="module")
def report(stack: Settings) -> DemoReport:
    """Play the demo once for all tests of this module; return its report."""
    return asyncio.run(play(stack, on_step=lambda result: print(result)))


def test_every_step_of_the_life_happens(report: DemoReport) -> None:
    assert report.failed_step == ""
    assert report.ok
    assert all(step.ok for step in report.steps)
    assert len(report.steps) > 30


def test_the_books_agree(report: DemoReport) -> None:
    assert [check for check in report.books if not check.ok] == []
    assert {check.name for check in report.books} >= {
        "market accounts = index",
        "position accounts = index",
        "lamports conserved",
        "socket = feed replayed",
        "timeline in order",
        "tallies verified, one number everywhere",
    }


def _names(stack: Settings, market_id: str) -> list[str]:
    async def read() -> list[str]:
        pool = await Pool.open(stack.require("database_url"), size=1)
        try:
            return [row["name"] for row in await pool.fetch(EVENTS, market_id)]
        finally:
            await pool.close()

    return asyncio.run(read())


def _runs(names: list[str]) -> list[str]:
    """Return the events' names in order, with repeated trades, votes and claims named once."""
    result: list[str] = []
    for name in names:
        if not (name in SINGLE and name in result):
            result.append(name)
    return result


def test_every_event_of_the_undisputed_life_is_indexed_in_order(stack: Settings, report: DemoReport) -> None:
    assert _runs(_names(stack, report.markets["undisputed"])) == [
        "MarketCreated",
        "ProposalVoteSubmitted",
        "ProposalAggregated",
        "ProposalApproved",
        "MarketActivated",
        "SharesBought",
        "SharesSold",
        "MarketResolved",
        "MarketFinalized",
        "WinningsClaimed",
        "LiquidityWithdrawn",
    ]


def test_every_event_of_the_overturned_life_is_indexed_in_order(stack: Settings, report: DemoReport) -> None:
    assert _runs(_names(stack, report.markets["overturned"])) == [
        "MarketCreated",
        "ProposalVoteSubmitted",
        "ProposalAggregated",
        "ProposalApproved",
        "MarketActivated",
        "SharesBought",
        "SharesSold",
        "MarketResolved",
        "DisputeInitiated",
        "DisputeVoteSubmitted",
        "MarketFinalized",
        "WinningsClaimed",
        "LiquidityWithdrawn",
    ]


def test_every_event_of_the_cancelled_life_is_indexed_in_order(stack: Settings, report: DemoReport) -> None:
    assert _names(stack, report.markets["cancelled"]) == [
        "MarketCreated",
        "MarketCancelled",
        "LiquidityWithdrawn",
    ]


def test_each_effect_of_the_backend_is_on_chain_exactly_once(stack: Settings, report: DemoReport) -> None:
    for label in ("undisputed", "overturned"):
        names = _names(stack, report.markets[label])
        assert [names.count(n) for n in ("ProposalAggregated", "ProposalApproved", "MarketFinalized")] == [
            1,
            1,
            1,
        ]


def test_the_dashboard_shows_a_healthy_stack(stack: Settings, report: DemoReport) -> None:
    def page(query: str = "") -> str:
        answer = httpx.get(f"http://127.0.0.1:{stack.api_port}/dashboard{query}", timeout=10)
        assert answer.status_code == 200
        return answer.text

    assert "healthy" in page(), page()[page().find("<body") :]
    drawn = [
        "Requests: requests", "Response times: p50", "Index behind the tip: lag", "Socket connections: open",
        "Messages to sockets: messages", "Ticks: aggregator", "Fee payer: balance", "IPFS storage: pinned",
        "Threshold accuracy, 30 days: as counted", "Work queues: pending votes",
    ]  # fmt: skip

    def missing(text: str) -> list[str]:
        return [label for label in drawn if not re.search(rf'aria-label="{label} \d', text)]

    wait_for(lambda: not missing(page()))  # until every process has written its figures
    assert missing(page("?span=day")) == []


def test_an_audit_and_a_rebuild_of_the_plays_index_find_no_difference(
    stack: Settings, report: DemoReport
) -> None:
    async def check() -> tuple[int, int, bool]:
        async with opened(stack) as engine:
            audited = await audit(engine.pool, engine.rpc, engine.program)
            rebuilt = await rebuild(engine.pool, engine.projector)
            return audited.markets, len(audited.differences), rebuilt.was_equal

    markets, differences, was_equal = asyncio.run(check())
    assert markets >= 3
    assert (differences, was_equal) == (0, True)


def signatures(stack: Settings, query: str) -> list[str]:
    async def read() -> list[str]:
        pool = await Pool.open(stack.require("database_url"), size=1)
        try:
            return [row[0] for row in await pool.fetch(query)]
        finally:
            await pool.close()

    return asyncio.run(read())


def trace_of(collector: Collector, signature: str) -> dict[str, list[CollectedSpan]]:
    """Return the spans in the trace of a transaction by name."""
    found: dict[str, list[CollectedSpan]] = defaultdict(list)
    for span in collector.trace(f"{identity_of(signature).trace_id:032x}"):
        found[span.name].append(span)
    return found


def test_every_trade_is_one_trace_from_the_webhook_to_the_socket_with_the_requests_ids(
    stack: Settings, report: DemoReport, collector: Collector
) -> None:
    trades = signatures(stack, TRADES)
    assert len(trades) > 3
    steps = {"webhook delivery", "index", "commit", "relay", "socket"}

    def missing() -> dict[str, set[str]]:
        held = {signature: steps - trace_of(collector, signature).keys() for signature in trades}
        return {signature: names for signature, names in held.items() if names}

    wait_for(lambda: not missing(), 30)
    for signature in trades:
        trace = trace_of(collector, signature)
        [root] = trace["index"]
        assert (root.parent, root.span) == ("", f"{identity_of(signature).root_span_id:016x}")
        below = [span for spans in trace.values() for span in spans if span is not root]
        assert {span.parent for span in below} == {root.span}
        assert {span.attributes["zmart.transaction.signature"] for span in [root, *below]} == {signature}
        assert {span.service for span in trace["index"] + trace["commit"]} == {"zmart-indexer"}
        assert {span.service for span in trace["relay"] + trace["socket"]} == {"zmart-websocket"}
        for delivery in trace["webhook delivery"]:
            [request] = [span for span in collector.spans if (span.trace, span.span) in delivery.links]
            assert request.name == "POST /api/webhooks/helius"
            assert delivery.attributes["zmart.request_id"] == request.attributes["zmart.request_id"] != ""
        # A client may have the trade before the indexer has the answer to its COMMIT.
        assert root.began_ns <= trace["commit"][0].began_ns <= trace["socket"][0].ended_ns
        [relay] = trace["relay"]
        assert relay.attributes["zmart.feed.offset"] == trace["socket"][0].attributes["zmart.feed.offset"]


def test_what_the_backend_sends_is_in_the_trace_of_its_transaction_and_linked_to_the_decision(
    stack: Settings, report: DemoReport, collector: Collector
) -> None:
    sent = signatures(stack, INTENTS)
    assert sent
    wait_for(lambda: all(trace_of(collector, signature)["send transaction"] for signature in sent), 30)
    intents = {(span.trace, span.span): span for span in collector.named("intent")}
    decisions = {span.span for span in collector.named("decision")}
    requests = {span.span: span for span in collector.spans if span.kind == SERVER}
    for signature in sent:
        [send] = trace_of(collector, signature)["send transaction"]
        [link] = send.links
        assert send.attributes["zmart.action"] == intents[link].attributes["zmart.action"]
        if send.service == "zmart-gateway":  # a request of the operator
            request = requests[intents[link].parent]
            assert send.attributes["zmart.request_id"] == request.attributes["zmart.request_id"] != ""
        else:
            assert send.service in {"zmart-aggregator", "zmart-monitor"}
            assert intents[link].parent in decisions


def test_a_trade_through_the_api_has_the_id_of_the_request_that_sent_it(
    stack: Settings, report: DemoReport, collector: Collector
) -> None:
    for signature in signatures(stack, TRADES):
        for send in trace_of(collector, signature)["send transaction"]:
            assert send.service == "zmart-gateway"
            assert send.attributes["zmart.request_id"]
    assert any(trace_of(collector, signature)["send transaction"] for signature in signatures(stack, TRADES))


SAID = {
    "indexer": {"batch indexed", "subscription begun"},
    "aggregator": {"tick", "votes counted", "proposal approved", "intent executed", "decision ended"},
    "monitor": {"tick", "market finalized", "intent executed", "decision ended"},
    "gateway": {"request", "signed in"},
    "websocket": {"feed relay started", "clients"},
    "snapshots": {"tick", "snapshot built", "pin verified"},
}
"""Events that the log of each service contains after the demo, besides those of its start."""


def test_the_logs_say_each_thing_that_happened_and_nothing_of_probes(
    stack: Settings, report: DemoReport
) -> None:
    market = report.markets["undisputed"]
    for service, said in SAID.items():
        text = (stack.zmart_home / "logs" / f"{service}.log").read_text()
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        assert {line["service"] for line in lines} == {service}
        assert said | {"service starts", "service started", "service ready"} <= {
            line["event"] for line in lines
        }
        assert (lines[0]["event"], lines[0]["version"]) == ("service starts", VERSION)
        assert lines[0]["commit"] == commit()
        if service != "websocket":
            named = last_lines(stack.zmart_home / "logs" / f"{service}.log", 1_000, LogFilter(market=market))
            assert named, f"nothing of the {service} can be found by the market"
        if service == "gateway":
            requests = [line for line in lines if line["event"] == "request"]
            assert {line["path"] for line in requests} & {"/health", "/ready", "/metrics"} == set()
            sign_in = next(line for line in lines if line["event"] == "signed in")
            (path,) = {line["path"] for line in requests if line["request_id"] == sign_in["request_id"]}
            assert path == "/api/auth/verify"


def test_a_few_ticks_of_a_day_hold(stack: Settings, report: DemoReport) -> None:
    """A short form of `make soak`: schedules tick, clients are answered, no message is missed, nothing happens twice.

    A snapshot is taken each day and kept for thirty days.
    """

    async def soak() -> tuple[day.Day, list[verdicts.Verdict]]:
        lived = await day.live(
            stack, day.DayPlan(ticks=4, tick_s=2, life_every=0), lambda number, figures: None
        )
        snapshots = await month.live(stack, MarketId(report.markets["undisputed"]))
        return lived, await verdicts.of(stack, lived, snapshots)

    lived, judged = asyncio.run(soak())
    exact = [verdict for verdict in judged if "one tick each time" not in verdict.promise]
    assert [verdict for verdict in exact if not verdict.holds] == []
    for service in ("aggregator ok", "monitor ok"):
        assert lived.figures[-1].ticks[service] > lived.figures[0].ticks[service]
