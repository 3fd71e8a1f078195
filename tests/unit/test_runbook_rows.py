"""Each row of the runbook's tables has a drill: a test that causes the problem, sees it and follows the advice."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from kit import operator_outages, runbook

_FAULTS = Path(__file__).parents[1] / "faults"


@cache
def _said_in_drills(call: str, position: int) -> set[str]:
    """Return the constant texts that drills pass to the operator's method `call`, as the argument at `position`."""
    said = set()
    for path in sorted(_FAULTS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == call:
                argument = node.args[position]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    said.add(argument.value)
    return said


def _keys() -> list[str]:
    return [key for row in runbook.rows("Alerts") for key in re.findall(r"`([^`]+)`", row[0])]


@pytest.mark.parametrize("key", _keys())
def test_each_alert_has_a_drill(key: str) -> None:
    """Some drill sees each alert open and closed. It names the constant beginning of the alert's key."""
    constant = key.partition("<")[0]
    for seen in ("sees_alert", "sees_alert_closed"):
        assert constant in _said_in_drills(seen, 0), seen


@pytest.mark.parametrize("number", range(len(runbook.rows("Why /ready is 503"))))
def test_each_reason_of_ready_has_a_drill(number: int) -> None:
    """Some drill waits for words of /ready that occur in this row and in no other."""
    reasons = [row[1] for row in runbook.rows("Why /ready is 503")]
    own = [words for words in _said_in_drills("sees_unready", 1) if words in reasons[number]]
    assert [words for words in own if sum(words in reason for reason in reasons) == 1], reasons[number]


@pytest.mark.parametrize("server", [runbook.server_of(row) for row in runbook.rows("Unavailable servers")])
def test_each_unavailable_server_has_a_drill(server: str) -> None:
    """Some drill reads the row of each unavailable server, and no two rows have the same server."""
    assert server in _said_in_drills("reads_row", 0)
    assert [runbook.server_of(row) for row in runbook.rows("Unavailable servers")].count(server) == 1


@pytest.mark.parametrize(
    ("words", "bound_s"),
    [
        ("with `Retry-After` for who asks, within", operator_outages.REFUSED_WITHIN_S),
        ("and within", operator_outages.REFUSED_ON_CHAIN_WITHIN_S),
        ("every service is ready within", operator_outages.READY_WITHIN_S),
    ],
)
def test_the_drills_hold_the_bounds_of_the_page(words: str, bound_s: float) -> None:
    assert f"{words} {bound_s:g} s" in runbook.section("Unavailable servers")
