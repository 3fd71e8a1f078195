"""A test that hangs is ended, and its report shows the line at which it hung."""

import os
import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HANGS = """
import asyncio
import pytest

async def never_answered():
    await asyncio.Event().wait()

@pytest.mark.timeout(0.5, method="signal", func_only=True)
async def test_it():
    await asyncio.create_task(never_answered())
"""


def test_a_coroutine_that_hangs_is_ended_and_shown(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    pytester.makeconftest("from kit.timeouts import pytest_runtest_makereport")
    pytester.makepyfile(HANGS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    assert result.ret == 1
    text = result.stdout.str()
    assert "Timeout (>0.5s) from pytest-timeout" in text
    assert re.search(r"Tasks that were waiting.*await asyncio\.Event\(\)\.wait\(\)", text, re.DOTALL)


def test_every_test_has_a_time_after_which_it_ends(request: pytest.FixtureRequest) -> None:
    assert all(item.get_closest_marker("timeout") for item in request.session.items)
