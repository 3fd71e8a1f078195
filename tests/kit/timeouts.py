"""A pytest plugin that ends a test that hangs, by pytest-timeout, and reports the stacks of its asyncio tasks."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import Generator, Iterable

import pytest

USUAL_S = 300.0
"""Seconds for a test without a time of its own: many times what the slowest of them needs on two busy cores."""
SLOW_S = 3 * 3600.0


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Give every test without a timeout of its own the usual one, or that of slow tests."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            seconds = SLOW_S if item.get_closest_marker("slow") else USUAL_S
            item.add_marker(pytest.mark.timeout(seconds, method="signal"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a timeout where each task waits; the traceback alone ends in the event loop's select."""
    report = yield
    if call.excinfo is not None and str(call.excinfo.value).startswith("Timeout"):
        report.sections.append(("Tasks that were waiting", _waiting_tasks()))
    return report


def _waiting_tasks() -> str:
    text = io.StringIO()
    for task in gc.get_objects():
        if isinstance(task, asyncio.Task) and not task.done():
            task.print_stack(file=text)
    return text.getvalue()
