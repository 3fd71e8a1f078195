"""Texts of RPCs, providers and other people are printed as they are, without their control characters."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
import tty
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from zmart.cli import stack_logs as logs
from zmart.cli import stack_output
from zmart.cli.errors import one_sentence
from zmart.cli.findings import print_findings
from zmart.cli.log_filter import LogFilter
from zmart.cli.stack_output import LONGEST_REASON, ProcessRow, print_processes
from zmart.errors import ConfigError
from zmart.local.demo.report import ConsistencyCheck, DemoReport, StepResult
from zmart.local.demo.table import WIDE_COLUMNS, live_line, show
from zmart.local.doctor import DoctorFinding
from zmart.printable import printable, printable_line

KEPT = (
    "403 from https://rpc.example: see [/docs/limits] and [quota]",
    "error [code 429] (see [quota page] of x)",
    "[/link]",
    "[/]",
    "[bold]not bold",
    "[red",
    "[",
    "]",
    "\\[",
    "\\",
    "ends with \\",
    "\\\\[bold]",
    "[@click=app.quit]",
    "[link=https://x.example]x[/link]",
    ":warning: :smile: :no_entry_sign:",
    "日本語 ✓ é 👩‍👩‍👧",
    "%s {0} {row.reason} $HOME",
)
"""Texts that have only characters that can be seen: each must be printed as it is."""
ESCAPED = (
    ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
    ("a\rb", r"a\rb"),
    ("\x00\x08\x7f\x9b31m", r"\x00\x08\x7f\x9b31m"),
    ("\u202eabc\u2066\ufeff", r"\u202eabc\u2066\ufeff"),
    ("\ud800", r"\ud800"),
    ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
)
TEXTS = [*((text, text) for text in KEPT), *ESCAPED]
hostile = pytest.mark.parametrize(("text", "shown"), TEXTS, ids=[ascii(text) for text, _ in TEXTS])


def process_row(reason: str) -> ProcessRow:
    return ProcessRow("indexer", "running", 1, 5, 0, 50.0, ready=False, reason=reason)


def printed_table(reason: str) -> str:
    console = Console(file=io.StringIO(), width=1000, force_terminal=False, highlight=False)
    console.print(stack_output._table([process_row(reason)]))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@hostile
def test_zmart_ps_shows_a_reason_as_it_was_written(text: str, shown: str) -> None:
    lines = printed_table(text).splitlines()
    assert lines[1].rstrip().endswith(f"no {printable_line(shown, LONGEST_REASON)}")
    assert len(lines) == 3  # the head, the process, the sum


def test_a_very_long_reason_is_cut_in_the_table_and_whole_in_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = "[x] " * 15_000
    assert f"{('[x] ' * 15_000)[: LONGEST_REASON - 1]}…" in printed_table(reason)
    monkeypatch.setattr(stack_output, "rows", lambda _: [process_row(reason)])
    print_processes(tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out)[0]["reason"] == reason


@hostile
def test_the_doctor_shows_a_finding_as_it_was_written(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_findings([DoctorFinding("x", ok=False, sentence=f"<{text}>")], as_json=False)
    assert capsys.readouterr().out == f"✗ <{shown}>\n"


@hostile
def test_an_error_is_printed_as_it_was_written(text: str, shown: str) -> None:
    app = typer.Typer()

    @app.command()
    @one_sentence
    def fail() -> None:
        raise ConfigError(f"<{text}>")

    assert CliRunner().invoke(app).stderr == f"<{shown}>\n"


@hostile
@pytest.mark.parametrize("width", [WIDE_COLUMNS - 1, 1_000])
def test_the_demo_shows_its_texts_as_they_were_written(text: str, shown: str, width: int) -> None:
    good = StepResult(
        market="m",
        step="s",
        ok=True,
        seconds=1.0,
        transaction="t",
        slot=1,
        index=f"<{text}>",
        socket=f"<{text}>",
        snapshot=f"<{text}>",
    )
    failed = StepResult(market="m", step="s", ok=False, seconds=1.0, error=f"<{text}>")
    check = ConsistencyCheck(name="c", ok=False, detail=f"<{text}>")
    steps, books = [good, failed], [check]
    report = DemoReport(ok=False, seconds=1, markets={}, steps=steps, books=books, failed_step=f"<{text}>")
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(live_line(good, 1_000), soft_wrap=True)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    out = console.file.getvalue()
    cells = 3 + (3 + 1 if width == 1_000 else 0)  # the live line, and the columns of the wide table
    assert out.count(f"<{shown}>") == cells + 2  # the check, and the sentence at the end


def test_a_text_without_control_characters_is_not_changed() -> None:
    for text in KEPT:
        assert printable(text) == text
    assert printable("a\n\tb") == "a\n\tb"


@hostile
def test_a_terminal_gets_no_control_characters_of_logs(
    text: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = text.encode("utf-8", "replace")
    (tmp_path / "gateway.log").write_bytes(line + b"\n")
    ours, terminal = pty.openpty()
    tty.setraw(terminal)
    with open(terminal, "w", encoding="utf-8") as screen, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        logs.show(tmp_path, "gateway", 1, LogFilter(), follow=False)
        screen.flush()
        assert os.read(ours, 4096).decode() == f"{printable(line.decode())}\n"
    os.close(ours)
