"""Tests of the traces of running gateways that a collector gets over HTTP; a missing collector harms no request."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from kit import commands
from kit.collector import Collector, collecting
from kit.gateway import OPERATOR
from kit.waiting import wait_for
from zmart.local.processes import free_port
from zmart.local.readiness import fetch_report
from zmart.ops.tracing.export import STOP_WITHIN_S

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "a-request-of-the-test"}
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
ALLOWED = {
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "url.scheme",
    "zmart.request_id",
    "error.type",
}


class RunningGateway:
    """A process of `zmart run gateway` with variables of OpenTelemetry; `log` is the file with its log."""

    def __init__(self, url: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.url, self.log, self.process = url, log, process

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def events(self, text: str) -> list[dict[str, object]]:
        return [line for line in self.lines() if text in str(line["event"])]

    def stop(self) -> float:
        """End the process in order, and return how many seconds that took."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.log.read_text()
        return time.monotonic() - began_s


@contextmanager
def gateway(folder: Path, database_url: str, redis_url: str, **variables: str) -> Iterator[RunningGateway]:
    port, log = free_port(), folder / "gateway.log"
    settings = commands.environment(
        database_url=database_url,
        redis_url=redis_url,
        api_port=port,
        operator_token=OPERATOR,
        auth_token_secret="a secret of the tests, of 32 characters",
    )
    with log.open("wb") as file:
        command = [*commands.ZMART, "run", "gateway"]
        process = subprocess.Popen(command, env=settings | variables, stdout=file, stderr=file)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: fetch_report(f"{url}/ready").ready or process.poll() is not None, 90, every_s=0.05)
        assert process.poll() is None, log.read_text()
        yield RunningGateway(url, log, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as given:
        yield given
        assert given.problems == []


def test_a_request_is_in_its_callers_trace_with_its_id_and_nothing_personal(
    collector: Collector, tmp_path: Path, database_url: str, redis_url: str
):
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20of-the-collector",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
        "OTEL_TRACES_SAMPLER_ARG": "0",  # the decision of a caller who samples is followed nevertheless
        **QUICK,
    }
    with gateway(tmp_path, database_url, redis_url, **variables) as running:
        market = "ab" * 32
        missing = httpx.get(f"{running.url}/api/markets/{market}?wallet=w", headers=SAMPLED)
        listed = httpx.get(f"{running.url}/api/markets?search=person", headers=SAMPLED)
        httpx.head(f"{running.url}/api/markets", headers=SAMPLED).raise_for_status()
        httpx.get(f"{running.url}/api/markets").raise_for_status()
        httpx.get(f"{running.url}/ready", headers=SAMPLED).raise_for_status()
        wait_for(lambda: len(collector.spans) >= 3, 30)
        running.stop()
    assert (missing.status_code, listed.status_code) == (404, 200)
    assert missing.headers["x-request-id"] == SAMPLED["x-request-id"]
    one, other, head = collector.spans
    assert [span.name for span in collector.spans] == [
        "GET /api/markets/{key}",
        "GET /api/markets",
        "HEAD /api/markets",
    ]
    assert head.attributes["http.route"] == "/api/markets"
    assert (one.attributes["http.response.status_code"], other.attributes["http.response.status_code"]) == (
        404,
        200,
    )
    for span in (one, other):
        assert (span.trace, span.parent, span.kind) == (TRACE, CALLER, 2)  # kind 2: a server's span
        assert span.attributes["zmart.request_id"] == SAMPLED["x-request-id"]
        assert span.attributes.keys() <= ALLOWED
        assert not {"person", market, "127.0.0.1"} & set(map(str, span.attributes.values()))
        assert span.service == span.resource["service.name"] == "zmart-gateway"
        assert span.resource["deployment.environment.name"] == "tests"
        assert span.resource["service.instance.id"]
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer of-the-collector"}


def test_the_name_that_the_variable_gives_is_the_services_and_its_end_sends_what_waits(
    collector: Collector, tmp_path: Path, database_url: str, redis_url: str
):
    variables = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_SERVICE_NAME": "our-own-name",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    with gateway(tmp_path, database_url, redis_url, **variables) as running:
        httpx.get(f"{running.url}/api/markets").raise_for_status()
        assert collector.spans == []
        running.stop()
    assert [(span.service, span.name) for span in collector.spans] == [("our-own-name", "GET /api/markets")]


def test_an_unreachable_collector_costs_no_request_and_two_lines_of_the_log(
    tmp_path: Path, database_url: str, redis_url: str
):
    port = free_port()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        **QUICK,
    }
    with gateway(tmp_path, database_url, redis_url, **variables) as running:
        for _ in range(40):  # more than the queue holds
            assert httpx.get(f"{running.url}/api/markets").status_code == 200
        wait_for(lambda: running.events("traces are not exported"), 30)
        with collecting(port) as late:

            def is_exported() -> bool:
                httpx.get(f"{running.url}/api/markets").raise_for_status()
                return bool(late.spans)

            wait_for(is_exported, 60)
            wait_for(lambda: running.events("traces are exported again"), 30)
            running.stop()
            assert late.problems == []
        [lost] = running.events("traces are not exported")
        [found] = running.events("traces are exported again")
        assert "refused" in str(lost["reason"])
        assert int(str(found["lost_spans"])) > 0
        told = {line["event"] for line in running.lines() if line["level"] != "info"}
        told.discard("rate limits are counted by this process alone")  # logged if Redis is slow
        assert told == {lost["event"], "documents are stored but not pinned"}


def test_a_collector_that_never_answers_delays_no_end(tmp_path: Path, database_url: str, redis_url: str):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with gateway(
            tmp_path, database_url, redis_url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **QUICK
        ) as running:
            httpx.get(f"{running.url}/api/markets").raise_for_status()
            mute.settimeout(30)
            connection, _ = mute.accept()  # the export has begun
            with connection:
                took_s = running.stop()
    assert STOP_WITHIN_S <= took_s < STOP_WITHIN_S + 6


def test_a_wrong_variable_ends_the_service_with_the_status_of_settings(
    tmp_path: Path, database_url: str, redis_url: str
):
    environment = commands.environment(database_url=database_url, redis_url=redis_url, log_json=False)
    done = subprocess.run(
        [*commands.ZMART, "run", "gateway"],
        env=environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is wrong: must start with http:// or https://." in done.stderr
