"""One trace from the webhook to the socket, of a stack whose services export to a collector."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest

from kit.collector import CollectedSpan, Collector, collecting
from kit.local_stack import stack_in
from kit.waiting import wait_for
from zmart.local.demo.play import play
from zmart.local.demo.report import DemoReport
from zmart.settings import Settings
from zmart.store.pool import Pool
from zmart.traces import identity_of

Played = tuple[Collector, DemoReport, Settings]
SERVER = 2
TRADES = "SELECT DISTINCT signature FROM trades ORDER BY signature"
INTENTS = "SELECT signature FROM intents WHERE state = 'landed' AND signature IS NOT NULL"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A stack that exports its traces, after the play; the collector has all of them that are due."""
    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with stack_in(tmp_path_factory.mktemp("home")) as settings:
            report = asyncio.run(play(settings))
            yield collector, report, settings
    assert collector.problems == []


def signatures(settings: Settings, query: str) -> list[str]:
    async def read() -> list[str]:
        pool = await Pool.open(settings.require("database_url"), size=1)
        try:
            return [row[0] for row in await pool.fetch(query)]
        finally:
            await pool.close()

    return asyncio.run(read())


def trace_of(collector: Collector, signature: str) -> dict[str, list[CollectedSpan]]:
    """The spans of a transaction by their names."""
    found: dict[str, list[CollectedSpan]] = defaultdict(list)
    for span in collector.trace(f"{identity_of(signature).trace_id:032x}"):
        found[span.name].append(span)
    return found


def test_the_play_succeeds_with_traces(played: Played):
    _, report, _ = played
    assert report.failed_step == ""
    assert report.ok


def test_every_trade_is_one_trace_from_the_webhook_to_the_socket_with_the_requests_ids(played: Played):
    collector, _, settings = played
    trades = signatures(settings, TRADES)
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


def test_what_the_backend_sends_is_in_the_trace_of_its_transaction_and_linked_to_the_decision(played: Played):
    collector, _, settings = played
    sent = signatures(settings, INTENTS)
    assert sent
    wait_for(lambda: all(trace_of(collector, signature)["send transaction"] for signature in sent), 30)
    intents = {(span.trace, span.span): span for span in collector.named("intent")}
    decisions = {span.span for span in collector.named("decision")}
    requests = {span.span: span for span in collector.spans if span.kind == SERVER}
    for signature in sent:
        [send] = trace_of(collector, signature)["send transaction"]
        [link] = send.links
        assert send.attributes["zmart.action"] == intents[link].attributes["zmart.action"]
        if send.service == "zmart-gateway":  # what the operator asked for
            request = requests[intents[link].parent]
            assert send.attributes["zmart.request_id"] == request.attributes["zmart.request_id"] != ""
        else:
            assert send.service in {"zmart-aggregator", "zmart-monitor"}
            assert intents[link].parent in decisions


def test_a_trade_through_the_api_has_the_id_of_the_request_that_sent_it(played: Played):
    collector, _, settings = played
    for signature in signatures(settings, TRADES):
        for send in trace_of(collector, signature)["send transaction"]:
            assert send.service == "zmart-gateway"
            assert send.attributes["zmart.request_id"]
    assert any(
        trace_of(collector, signature)["send transaction"] for signature in signatures(settings, TRADES)
    )
