"""Everything that a process writes is a line of its log: also exceptions, warnings and crashes."""

import io
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from zmart.cli.stack_up import StackSession
from zmart.local.readiness import readable
from zmart.ops.line_writer import LineWriter

BEGIN = """
import asyncio, logging, sys, threading, warnings
from zmart.ops import logs
from zmart.settings import load_settings
import structlog
logs.configure(load_settings(_env_file=None, zmart_home="."), "indexer")
log = structlog.get_logger()
"""


def run(folder: Path, code: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Run Python code in a process; return its exit status, its standard error and the lines of its log."""
    command = [sys.executable, "-W", "always", "-c", BEGIN + code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stderr, [json.loads(line) for line in done.stdout.splitlines()]


def test_whatever_goes_wrong_in_a_process_is_one_line_of_json_each(tmp_path: Path) -> None:
    status, stderr, lines = run(
        tmp_path,
        """
class Reported:
    def __del__(self):
        raise ValueError("in a finalizer")

async def loop():
    running = asyncio.get_running_loop()
    logs.log_loop_errors(running)
    running.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

asyncio.run(loop())
thread = threading.Thread(target=lambda: [][1], name="a-thread")
thread.start()
thread.join()
Reported()
warnings.warn("deprecated", DeprecationWarning)
logging.getLogger("library").error("could not %s", "connect")
log.info("ours", market="ab")
raise RuntimeError("two\\nlines")
""",
    )
    assert (status, stderr) == (1, "")
    assert {line["service"] for line in lines} == {"indexer"}
    assert all(line["timestamp"] and line["level"] and line["event"] for line in lines)
    assert [line["event"].splitlines()[0].split(": ")[-1] for line in lines] == [
        *["uncaught exception"] * 3,
        "deprecated",
        "could not connect",
        "ours",
        "uncaught exception",
    ]
    raised = [line["exception"].splitlines()[-1] for line in lines if line.get("exception")]
    assert raised[:3] == [
        "ZeroDivisionError: division by zero",
        "IndexError: list index out of range",
        "ValueError: in a finalizer",
    ]
    assert lines[-1]["level"] == "critical"
    assert "RuntimeError: two\nlines" in lines[-1]["exception"]


def test_a_crash_of_the_interpreter_is_a_line_of_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    status, stderr, lines = run(tmp_path, "import faulthandler; faulthandler._sigsegv()")
    assert (status, stderr, lines) == (-11, "", [])
    for expected in (1, 0):
        _, stderr, lines = run(tmp_path, "log.info('next')")
        crashed = [line for line in lines if line["event"] == "an earlier process crashed"]
        assert (stderr, len(crashed)) == ("", expected)
        assert all("Segmentation fault" in line["exception"] for line in crashed)


def test_a_log_that_cannot_be_written_ends_no_process(tmp_path: Path) -> None:
    code = BEGIN + "log.info('x' * 10_000); logging.error('y' * 10_000); sys.stderr.write('alive')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert b"alive" in done.stderr


def test_an_error_that_ends_a_service_is_told_once_where_both_streams_are_one(tmp_path: Path) -> None:
    """A fatal error is written once, as a JSON line, if both streams are one log.

    A separate standard error gets the error as a sentence, too.
    """
    settings = {"ZMART_HOME": str(tmp_path), "ZMART_ENV_FILE": "/dev/null", "BIND_HOST": "127.0.0.1"}
    database = {"DATABASE_URL": "postgresql://zmart@127.0.0.1:1/none", "ZMART_ENV": "local"}
    command = [sys.executable, "-m", "zmart.cli", "run", "monitor"]
    environment = {**settings, **database, "PATH": ""}
    both = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = [json.loads(line) for line in both.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["service starts", "service failed"]
    assert lines[0]["version"]
    assert lines[0]["commit"]
    assert "check DATABASE_URL" in readable(both.stdout.splitlines()[-1])
    own = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (own.returncode, own.stderr) == (both.returncode, f"{lines[-1]['error']}\n")


def test_a_line_and_its_end_are_one_write() -> None:
    """A log line and its line feed are one write: lines stay whole if two processes write or one is killed."""

    class Stream(io.StringIO):
        writes: ClassVar[list[str]] = []

        def write(self, text: str) -> int:
            self.writes.append(text)
            return len(text)

    LineWriter(Stream()).info("one line")
    assert Stream.writes == ["one line\n"]


def test_who_ignores_the_end_of_its_terminal_still_does_when_the_stack_starts() -> None:
    """`nohup zmart up`: a process that ignores SIGHUP still ignores it after the stack's session has started."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for ignored in (signal.SIG_IGN, signal.SIG_DFL):
            signal.signal(signal.SIGHUP, ignored)
            StackSession(Console(), Path())._on_signals(threading.Event())
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) == (ignored is signal.SIG_IGN)
            assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
