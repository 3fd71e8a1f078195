"""The alert rules query metrics and labels that the code has, and each row of the runbook has a case in their tests."""

import re
from functools import cache
from pathlib import Path

import yaml

from kit.runbook import counted, section, unknown_in
from zmart.services.contract import SERVICES

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
_MATCHER = re.compile(r'(\w+)="([^"]*)"')
_WHAT_ONE_IS_ABOUT = re.compile(r":?<(?:market|intent|address)>$")


@cache
def rules() -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@cache
def cases() -> list[dict]:
    return yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text("utf-8"))["tests"]


def test_a_metric_that_does_not_exist_is_found():
    assert unknown_in('zmart_ready == 0 or zmart_no{a="b"}') == ["zmart_no"]
    assert unknown_in('zmart_redis_errors_total{sort="x"}') == ["zmart_redis_errors_total: ['sort']"]


def test_every_rule_asks_for_what_the_code_has():
    assert {rule["alert"]: unknown_in(rule["expr"]) for rule in rules() if unknown_in(rule["expr"])} == {}


def test_every_case_feeds_what_the_code_has():
    series = [one["series"] for case in cases() for one in case["input_series"]]
    assert [one for one in series if unknown_in(one)] == []


def is_of(series: str, name: str, matchers: dict[str, str]) -> bool:
    return series.startswith(f"{name}{{") and matchers.items() <= dict(_MATCHER.findall(series)).items()


def test_every_rule_fires_for_what_a_new_process_counts_first():
    """Each rule with increase() or rate() has a case in which the series does not exist before, and begins at 0."""
    expected, played = set(), set()
    for rule in rules():
        for name, matchers in counted(rule["expr"]):
            expected.add((rule["alert"], name, *matchers.values()))
            for case in cases():
                fires = {test["alertname"] for test in case["alert_rule_test"] if test["exp_alerts"]}
                begins = [
                    one["values"]
                    for one in case["input_series"]
                    if is_of(one["series"], name, matchers) and one["values"].startswith("_x2 0")
                ]
                if rule["alert"] in fires and begins:
                    played.add((rule["alert"], name, *matchers.values()))
    assert played == expected
    assert len(expected) > 12


def test_no_case_begins_a_new_series_with_anything_but_what_a_process_exports_first():
    """A counter is exported at 0 before it counts (tests/unit/test_first_errors.py)."""
    new = [one for case in cases() for one in case["input_series"] if one["values"].startswith("_")]
    assert [one for one in new if not re.match(r"(_|_x\d+) 0", one["values"])] == []


def test_every_rule_has_a_severity_a_summary_and_a_section_of_the_runbook():
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "{{ $labels.severity }}"), rule["alert"]
        assert rule["annotations"]["summary"].endswith(".") or "?" in rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"].startswith("docs/operations.md#")


def test_every_rule_fires_in_a_case_and_is_silent_in_the_calm_one():
    fired = {test["alertname"] for case in cases() for test in case["alert_rule_test"] if test["exp_alerts"]}
    [calm] = [case for case in cases() if case["name"].startswith("calm")]
    silent = {test["alertname"] for test in calm["alert_rule_test"] if not test["exp_alerts"]}
    assert fired == silent == {rule["alert"] for rule in rules()}


def test_every_row_about_readiness_has_a_case():
    rows = re.findall(r"^\| (.+?) \| (.+?) \| ", section("Why /ready is 503"), re.MULTILINE)
    expected = {f"/ready of {service}: {reason}" for service, reason in rows if service != "service"}
    expected |= {f"/ready of {service} is 503 for any reason" for service in SERVICES}
    assert {case["name"] for case in cases() if case["name"].startswith("/ready")} == expected
    assert len(rows) > 10


def test_every_row_about_an_alert_has_a_case():
    rows = re.findall(r"^\| (`.+?`) (critical|warning) ", section("Alerts"), re.MULTILINE)
    expected = {f"alert {key}": severity for keys, severity in rows for key in re.findall("`([^`]+)`", keys)}
    played = {}
    for case in cases():
        if case["name"].startswith("alert "):
            [expectation] = case["alert_rule_test"][0]["exp_alerts"]
            played[case["name"]] = expectation["exp_labels"]["severity"]
            about = _WHAT_ONE_IS_ABOUT.sub("", case["name"].removeprefix("alert ")).replace("<service>", "")
            assert expectation["exp_labels"]["alert"].startswith(about)
    assert played == expected
    assert len(rows) > 20


def test_a_service_without_any_process_is_told_whichever_it_is():
    [rule] = [rule for rule in rules() if rule["alert"] == "ZmartMissing"]
    assert sorted(re.findall(r'absent\(up{job="zmart-(\w+)"}\)', rule["expr"])) == sorted(SERVICES)
