"""`zmart logs` selects lines by level, market and request, in the order of time, also across log rotations."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zmart import cli
from zmart.cli import stack
from zmart.cli.log_filter import LogFilter, checked, read_line
from zmart.cli.stack_logs import FollowedLog, last_lines
from zmart.errors import ConfigError

MARKET, OTHER = "ab" * 32, "cd" * 32


def line(second: int, event: str, level: str = "info", **fields: object) -> str:
    time = f"2026-11-28T03:00:{second:02d}.000000Z"
    return json.dumps({"service": "s", **fields, "event": event, "level": level, "timestamp": time})


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "gateway.log.2").write_text(line(1, "oldest", market=MARKET) + "\n")
    (folder / "gateway.log.1").write_text(line(3, "older", request_id="r-1") + "\n")
    (folder / "gateway.log").write_text(
        line(5, "asked", request_id="r-1", path=f"/api/markets/{MARKET}") + "\n" + line(7, "other") + "\n"
    )
    (folder / "indexer.log").write_text(
        line(4, "batch indexed", markets=[OTHER, MARKET])
        + "\n"
        + line(6, "failed", "error", exception="a\nb")
        + "\n"
    )
    (folder / "postgres.log").write_text(
        "2026-11-28 03:00:02.000 UTC [7] FATAL:  too many\n2026-11-28 03:00:08.000 UTC [7] LOG:  done\n\tDETAIL\n"
    )
    return folder


def printed(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[str]:
    monkeypatch.setattr(stack, "_home", lambda: folder.parent)
    stack.register(app := cli.typer.Typer())
    done = CliRunner().invoke(app, ["logs", *options])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def events(lines: list[str]) -> list[str]:
    return [json.loads(text)["event"] for text in (each.partition(" | ")[2] or each for each in lines)]


def test_lines_of_all_processes_are_printed_in_the_order_of_time(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(logs, monkeypatch, "-n", "2")
    assert [each.partition(" ")[0] for each in lines] == [
        "indexer", "gateway", "indexer", "gateway", "postgres", "postgres",
    ]  # fmt: skip


def test_a_market_selects_every_line_that_names_it_in_rotated_files_too(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(logs, monkeypatch, "--market", MARKET.upper())
    assert events(lines) == ["oldest", "batch indexed", "asked"]


def test_a_request_selects_its_own_lines(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert events(printed(logs, monkeypatch, "gateway", "--request", "r-1")) == ["older", "asked"]
    assert printed(logs, monkeypatch, "--request", "r-") == []


def test_a_level_selects_it_and_those_above_of_plain_logs_too(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(logs, monkeypatch, "--level", "warning")
    assert [each.partition(" ")[0] for each in lines] == ["postgres", "indexer"]
    assert "too many" in lines[0]


def test_a_level_that_is_unknown_is_left_out_by_no_filter() -> None:
    assert LogFilter(level="critical").select(line(1, "x", "strange")) is not None
    assert read_line("{broken").level == "info"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("loud", "", ""), "one of debug, info, warning, error, critical"),
        (("", "ab", ""), "neither a market's id"),
    ],
)
def test_a_wrong_filter_says_what_is_possible(options: tuple[str, str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked(*options)


def test_following_goes_on_in_the_new_file_after_a_rotation_and_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("before\n")
    log = FollowedLog(path)
    with path.open("a") as writer:
        writer.write("one\ntw")
        writer.flush()
        assert log.new_lines() == ["one"]
        writer.write("o\n")
        writer.flush()
        os.rename(path, tmp_path / "a.log.1")
        writer.write("three\n")
    assert log.new_lines() == ["two", "three"]  # the old file is renamed, the new one does not exist yet
    path.write_text("four\nand a longer line than all before it\n")
    assert log.new_lines() == ["four", "and a longer line than all before it"]
    path.write_text("emptied\n")
    assert log.new_lines() == ["emptied"]
    log.close()


def test_as_many_lines_as_asked_are_those_that_were_selected(logs: Path) -> None:
    assert [each.text for each in last_lines(logs / "gateway.log", 1, LogFilter(request="r-1"))] == [
        line(5, "asked", request_id="r-1", path=f"/api/markets/{MARKET}")
    ]
