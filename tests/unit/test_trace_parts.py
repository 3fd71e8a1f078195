"""Traces: ids are derived from signatures; environment variables enable the export, which otherwise costs nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import DEFAULT_OFF, ParentBasedTraceIdRatio, Sampler

from zmart import traces
from zmart.errors import SettingError
from zmart.ops import traces as export
from zmart.ops.tracing.identifiers import SpanIds
from zmart.ops.tracing.recorder import TransactionSpans
from zmart.ops.tracing.requests import TracedRequests
from zmart.settings import Settings
from zmart.traces import ServiceWork, TransactionStep, identity_of

SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://collector:4318"


class Recording:
    """A separate recorder of spans that keeps them in memory."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.memory = InMemorySpanExporter()
        ids = SpanIds()
        self.provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.memory))
        self.spans = TransactionSpans(self.provider, ids)

    def finished(self):
        return self.memory.get_finished_spans()


@pytest.fixture
def recording() -> Iterator[Recording]:
    given = Recording()
    traces.use(given.spans)
    yield given
    traces.use(None)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Remove the variables of OpenTelemetry and change to an empty folder; return the monkeypatch."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


# --------------------------------------------------------------------------------------------------- transactions


def test_the_ids_of_a_transaction_follow_from_its_signature():
    digest = hashlib.sha256(SIGNATURE.encode()).hexdigest()
    identity = identity_of(SIGNATURE)
    assert f"{identity.trace_id:032x}{identity.root_span_id:016x}" == digest[:48]


def test_all_steps_of_a_transaction_are_in_one_trace_below_the_indexing(recording: Recording):
    for step in TransactionStep:
        traces.record(step, SIGNATURE, 1_000, {"zmart.slot": 7}, 2_000)
    identity = identity_of(SIGNATURE)
    spans = {span.name: span for span in recording.finished()}
    assert set(spans) == {step.value for step in TransactionStep}
    assert {span.context.trace_id for span in spans.values()} == {identity.trace_id}
    root = spans.pop("index")
    assert (root.parent, root.context.span_id) == (None, identity.root_span_id)
    assert {span.parent.span_id for span in spans.values()} == {identity.root_span_id}
    assert len({span.context.span_id for span in spans.values()}) == len(TransactionStep) - 1
    assert dict(root.attributes) == {"zmart.transaction.signature": SIGNATURE, "zmart.slot": 7}
    assert (root.start_time, root.end_time) == (1_000, 2_000)


def test_a_step_that_another_clock_dates_after_its_end_has_no_length(recording: Recording):
    traces.record(TransactionStep.RELAY, SIGNATURE, 3_000, ended_ns=2_000)
    assert [(span.start_time, span.end_time) for span in recording.finished()] == [(2_000, 2_000)]


def test_processes_that_sample_agree_about_every_transaction():
    one, other = Recording(ParentBasedTraceIdRatio(0.5)), Recording(ParentBasedTraceIdRatio(0.5))
    for number in range(400):
        one.spans.record(TransactionStep.INDEX, f"signature {number}", 1, None, {})
        other.spans.record(TransactionStep.SOCKET, f"signature {number}", 1, None, {})
    kept = [span.context.trace_id for span in one.finished()]
    assert kept == [span.context.trace_id for span in other.finished()]
    assert 150 < len(kept) < 250


def test_a_sampler_that_is_off_records_nothing():
    off = Recording(DEFAULT_OFF)
    off.spans.record(TransactionStep.INDEX, SIGNATURE, 1, None, {})
    with off.spans.around(ServiceWork.TICK, {}):
        pass
    assert off.finished() == ()


async def test_the_steps_within_a_work_are_linked_to_it_and_a_failure_names_only_its_kind(
    recording: Recording,
):
    with pytest.raises(ValueError), traces.around(ServiceWork.DECISION, lambda: {"zmart.job": "proposal"}):
        with traces.around(ServiceWork.INTENT, dict):
            traces.record(TransactionStep.SEND, SIGNATURE, 1)
        raise ValueError("what a person wrote")
    sent, intent, decision = recording.finished()
    assert (intent.parent.span_id, intent.context.trace_id) == (
        decision.context.span_id,
        decision.context.trace_id,
    )
    assert [link.context.span_id for link in sent.links] == [intent.context.span_id]
    assert sent.context.trace_id == identity_of(SIGNATURE).trace_id
    assert dict(decision.attributes) == {"zmart.job": "proposal", "error.type": "ValueError"}
    assert (decision.status.is_ok, decision.status.description, decision.events) == (False, None, ())


def test_while_nobody_exports_nothing_is_recorded_and_attributes_are_not_computed():
    assert not traces.is_on()
    traces.record(TransactionStep.INDEX, SIGNATURE, 1)
    with traces.around(ServiceWork.TICK, lambda: pytest.fail("computed")):
        pass


# ------------------------------------------------------------------------------------------------------- requests


async def answered(recording: Recording, scope: dict[str, object], app=None) -> dict[str, object]:
    """Answer one request, and return the scope that the application saw."""
    seen: dict[str, object] = {}

    async def default(scope, receive, send) -> None:
        scope["path_template"] = "/api/markets/{market:str}"
        seen.update(scope)
        traces.record(TransactionStep.DELIVERY, SIGNATURE, 1)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message) -> None: ...

    traced = TracedRequests(app or default, recording.provider.get_tracer("t"))
    given = {"type": "http", "method": "GET", "path": "/api/markets/x", "scheme": "http", "headers": []}
    await traced({**given, **scope}, None, send)
    return seen


async def test_a_request_is_a_span_below_its_callers_with_its_id_and_its_route(recording: Recording):
    headers = [
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (b"x-request-id", b"r-1"),
        (b"user-agent", b"a person's"),
    ]
    seen = await answered(
        recording, {"headers": headers, "query_string": b"wallet=w", "client": ("9.9.9.9", 1)}
    )
    delivery, request = recording.finished()
    assert seen["headers"] == headers
    assert request.name == "GET /api/markets/{market:str}"
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(request.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/api/markets/{market:str}",
        "http.response.status_code": 200,
        "zmart.request_id": "r-1",
    }
    assert delivery.attributes["zmart.request_id"] == "r-1"
    assert [link.context for link in delivery.links] == [request.context]
    assert delivery.context.trace_id == identity_of(SIGNATURE).trace_id


@pytest.mark.parametrize("sent", [[], [(b"x-request-id", b"not valid!")], [(b"traceparent", b"00-zz-zz-zz")]])
async def test_a_request_without_a_valid_id_gets_one_that_the_application_finds(recording: Recording, sent):
    seen = await answered(recording, {"headers": [*sent, (b"accept", b"*/*")]})
    [found] = [value for name, value in seen["headers"] if name == b"x-request-id"]
    *_, request = recording.finished()
    assert request.attributes["zmart.request_id"] == found.decode() != ""
    assert request.parent is None


async def test_a_method_that_is_no_known_one_is_not_repeated_and_a_failure_is_told(recording: Recording):
    async def broken(scope, receive, send) -> None:
        raise RuntimeError("what a person wrote")

    with pytest.raises(RuntimeError):
        await answered(recording, {"method": "A-PERSON"}, broken)
    [request] = recording.finished()
    assert request.name == "HTTP"
    assert request.attributes["http.request.method"] == "_OTHER"
    assert request.attributes["error.type"] == "RuntimeError"
    assert (request.status.is_ok, request.status.description, request.events) == (False, None, ())


@pytest.mark.parametrize("path", ["/health", "/ready/", "/metrics", "/health/indexer"])
async def test_probes_make_no_span(recording: Recording, path: str):
    async def probe(scope, receive, send) -> None: ...

    await answered(recording, {"path": path}, probe)
    assert recording.finished() == ()


# ------------------------------------------------------------------------------------------------------ variables


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "z", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({ENDPOINT: COLLECTOR}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "True"}, False),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "false"}, True),
        ({ENDPOINT: "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": " "}, False),
    ],
)
def test_an_endpoint_asks_for_traces_unless_another_variable_forbids_them(
    environment: pytest.MonkeyPatch, variables: dict[str, str], wanted: bool
):
    given = dict(variables)
    export.read_env_file(given)
    assert export.is_enabled(given) is wanted


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT} is wrong: must start with http:// or https://"),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is wrong"),
        (
            {ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is wrong",
        ),
    ],
)
def test_a_variable_that_cannot_be_followed_is_one_sentence(
    environment: pytest.MonkeyPatch, variables: dict[str, str], says: str
):
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(SettingError, match=says) as caught:
        export.start("gateway")
    assert "\n" not in str(caught.value)


def test_without_the_extra_an_endpoint_is_one_sentence_and_no_endpoint_is_nothing(
    environment: pytest.MonkeyPatch,
):
    environment.setattr(export, "is_installed", lambda: False)
    assert export.start("gateway") is None
    export.check()
    environment.setenv(ENDPOINT, COLLECTOR)
    for call in (lambda: export.start("gateway"), export.check):
        with pytest.raises(SettingError, match=r"run `pip install 'zmart\[otel\]'` to add it"):
            call()


def test_the_file_of_settings_names_variables_too_and_the_environment_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
):
    lines = [f"{ENDPOINT}={COLLECTOR}", "OTEL_SERVICE_NAME=file", "OTEL_TRACES_SAMPLER=", "LOG_LEVEL=debug"]
    file = tmp_path / "settings.env"
    file.write_text("\n".join(lines), encoding="utf-8-sig")
    environment.setitem(Settings.model_config, "env_file", str(file))
    given = {"OTEL_SERVICE_NAME": "environment", "OTEL_RESOURCE_ATTRIBUTES": "", "PATH": ""}
    export.read_env_file(given)
    assert given == {ENDPOINT: COLLECTOR, "OTEL_SERVICE_NAME": "environment", "PATH": ""}


def test_without_the_variables_a_service_imports_nothing_of_the_extra():
    program = (
        "import sys, zmart.ops.host as host, importlib\n"
        "for name in host.SERVICES: importlib.import_module(f'zmart.services.{name}.service')\n"
        "assert host.traces.start('gateway') is None\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'requests')])"
    )
    given = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = {**given, "ZMART_ENV_FILE": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
