"""Prometheus with the configuration of deploy/ scrapes a running stack.

Every query of the dashboard finds something, every rule can be computed, and no alert fires while all is well.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_server import running_prometheus

from kit.connection_table import connections
from kit.installed import ROOT, program
from kit.local_stack import stack_in
from kit.runbook import counted, labels, metrics
from zmart.local.demo.play import play
from zmart.services.contract import SERVICES
from zmart.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEPLOY = ROOT / "deploy"
EMPTY_WHEN_CALM = {
    "max by (alert, severity) (zmart_alerts_open)": "there is one series for each open alert",
    "max by (decision, status) (zmart_monitor_market_work)": "no decision fails or waits",
    "sum by (policy) (rate(zmart_gateway_limited_total[$__rate_interval]))": "no client was refused",
    "sum by (code) (rate(zmart_websocket_closed_total[$__rate_interval]))": "the server closed no connection",
}


class Prometheus:
    """A running Prometheus, queried by its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> dict:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30, trust_env=False)
        assert answer.status_code == 200, (parameters, answer.text)
        return answer.json()["data"]

    def query(self, expression: str) -> list[dict]:
        return self.get("query", query=expression)["result"]


@contextmanager
def prometheus_for(settings: Settings, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration of deploy/, an interval of a second, and the stack's ports as targets."""
    shutil.copytree(DEPLOY / "prometheus", folder)
    targets = (folder / "targets.yml").read_text("utf-8")
    for field, default in [(field, Settings.model_fields[field].default) for field in SERVICES.values()]:
        assert f"127.0.0.1:{default}" in targets
        targets = targets.replace(f"127.0.0.1:{default}", f"127.0.0.1:{getattr(settings, field)}")
    (folder / "targets.yml").write_text(targets, "utf-8")
    config = (folder / "prometheus.yml").read_text("utf-8")
    assert config.count("_interval: 15s") == 2
    (folder / "prometheus.yml").write_text(config.replace("_interval: 15s", "_interval: 1s"), "utf-8")
    with running_prometheus(folder) as url:
        yield Prometheus(url)


def settle(prometheus: Prometheus, scrapes: int) -> None:
    """Wait until every target was scraped `scrapes` times and is up; AssertionError after 120 s."""
    deadline = time.monotonic() + 120
    enough = f'count(count_over_time(up{{job=~"zmart-.+"}}[5m]) >= {scrapes} and up == 1)'
    while True:
        try:
            if (result := prometheus.query(enough)) and int(result[0]["value"][1]) == len(SERVICES):
                return
        except httpx.TransportError:
            pass  # it is still starting
        assert time.monotonic() < deadline, prometheus.get("targets")
        time.sleep(0.5)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run Prometheus beside a stack on which a demo was played."""
    program("prometheus", "prometheus")  # fails or skips before minutes of work
    with (
        stack_in(tmp_path_factory.mktemp("home")) as settings,
        prometheus_for(settings, tmp_path_factory.mktemp("prometheus") / "etc") as server,
    ):
        settle(server, 3)
        report = asyncio.run(play(settings, on_step=lambda _: None))
        assert report.failed_step == ""
        settle(server, 20)
        yield server


def queries() -> list[str]:
    panels = json.loads((DEPLOY / "grafana" / "zmart.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_every_query_of_the_dashboard_finds_something(prometheus: Prometheus) -> None:
    found = {query: prometheus.query(query.replace("$__rate_interval", "1m")) for query in queries()}
    assert {query for query, result in found.items() if not result} <= EMPTY_WHEN_CALM.keys()
    assert EMPTY_WHEN_CALM.keys() <= found.keys()


def test_every_rule_can_be_computed_and_none_fires(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 30
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_what_rules_count_has_a_series_before_the_first_error(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    series = {
        (name, ",".join(f'{label}="{value}"' for label, value in matchers.items()))
        for rule in rules
        for name, matchers in counted(rule["query"])
    }
    assert [one for one in series if not prometheus.query(f"{one[0]}{{{one[1]}}}")] == []
    assert len(series) > 12


def test_every_service_has_what_the_runbook_lists_for_every_service(prometheus: Prometheus) -> None:
    common = [
        "zmart_ready", "zmart_build_info", "zmart_disk_free_bytes", "zmart_database_connections_limit",
        'zmart_database_errors_total{kind="Busy"}', "zmart_readiness_timeouts_total",
    ]  # fmt: skip
    for name in common:
        jobs = {sample["metric"]["job"] for sample in prometheus.query(name)}
        assert jobs == {f"zmart-{service}" for service in SERVICES}, name
    assert {sample["value"][1] for sample in prometheus.query("zmart_ready")} == {"1"}


def test_no_pool_is_larger_than_the_table_of_connections_says(prometheus: Prometheus) -> None:
    """docs/scaling.md counts the pools of each service, and what it opens beside them."""
    pools = {
        sample["metric"]["job"].removeprefix("zmart-"): float(sample["value"][1])
        for sample in prometheus.query("zmart_database_connections_limit")
    }
    stated = connections()
    assert pools.keys() == stated.keys()
    assert {name: size for name, size in pools.items() if not stated[name] - 5 <= size <= stated[name]} == {}


def test_every_figure_without_labels_is_told_by_a_service(prometheus: Prometheus) -> None:
    told = {
        name
        for name in prometheus.get("label/__name__/values")
        if name.startswith("zmart_")
    }  # fmt: skip
    plain = {name for name in metrics() if not labels().get(name) and not name.startswith("zmart_providers_")}
    missing = {name for name in plain if name not in told and f"{name}_bucket" not in told}
    # metrics of custom collectors have labels that only their samples show
    assert missing == set()
