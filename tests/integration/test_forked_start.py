"""Tests of programs that supervisord forks: each behaves as an executed one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from supervisor.process import Subprocess

from kit.waiting import wait_for
from zmart.local import process_group
from zmart.local.forked_start import HANDLED, LIBRARIES, ForkedCommand
from zmart.local.processes import start_command
from zmart.local.supervision import SupervisedProgram, Supervisor
from zmart.local.supervisord import PersistentProcess

REPORT = """\
import json, os, signal, sys, time
handled = [s.name for s in signal.Signals if signal.getsignal(s) not in (signal.SIG_DFL, signal.SIG_IGN)]
report = {
    "libraries": "litestar" in sys.modules,
    "ours": [name for name in sys.modules if name.startswith("zmart.")],
    "names": [__name__, sys.modules["__main__"].__name__, *sys.argv[1:]],
    "handled": handled,
    "files": len(os.listdir("/proc/self/fd")),
    "group": os.getpgid(0) == os.getpid(),
    "process": os.environ["SUPERVISOR_PROCESS_NAME"],
}
with open("REPORTS", "a") as file:
    print(json.dumps(report), file=file)
time.sleep(600)
"""
FORK = """\
import os, sys
from zmart.local.forked_start import ForkedCommand, import_libraries
import_libraries()
pid = os.fork()
if pid == 0:
    ForkedCommand.of(sys.argv[1:]).run(dict(os.environ))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
BLOCKED = "from zmart.local.forked_start import HANDLED; signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)"
ENDS = {
    "its end": "print('done')",
    "a status": "import sys; print('begun', end=''); sys.exit(3)",
    "a sentence": "import sys; sys.exit('It cannot start.')",
    "no status": "import sys; sys.exit()",
    "a bug": "import sys; sys.tracebacklimit = 0; 1 / 0",
    "a thread that goes on": (
        "import threading, time; late = lambda: (time.sleep(0.2), print('thread'))\n"
        "threading.Thread(target=late).start(); print('main')"
    ),
    "an executor that is open": (
        "import sys; from concurrent.futures import ThreadPoolExecutor\n"
        "sys.pool = ThreadPoolExecutor(1); sys.pool.submit(print, 'in the pool').result()"
    ),
    "what is registered for the end": "import atexit; atexit.register(print, 'last'); print('first')",
    "SIGTERM": "import os, signal; os.kill(os.getpid(), signal.SIGTERM); import time; time.sleep(60)",
}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    process_group.end_members(tmp_path)


def module(home: Path, text: str) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs a module of this text, and its environment."""
    (home / "module_of_test.py").write_text(text)
    command = start_command(
        [sys.executable, "-m", "module_of_test", "one", "two words"], die_with_parent=signal.SIGTERM
    )
    return command, {
        **os.environ,
        **process_group.mark(home),
        "PYTHONPATH": str(home),
        "PYTHONUNBUFFERED": "1",
    }


def test_a_program_is_forked_at_first_and_executed_when_it_is_started_again(home: Path) -> None:
    reports = home / "reports"
    command, environment = module(home, REPORT.replace("REPORTS", str(reports)))
    supervisor = Supervisor(home / "run", home / "logs")
    supervisor.write_config([SupervisedProgram(name="a", group="a", command=tuple(command))], home)
    process = subprocess.Popen(
        supervisor.command(),
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(supervisor.answers)
    supervisor.start("a:a")

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in reports.read_text().splitlines()] if reports.exists() else []

    wait_for(lambda: len(lines()) == 1)
    pid = supervisor.processes()[0].pid
    shown = psutil.Process(pid).cmdline()
    assert shown[1:5] == ["-m", "module_of_test", "one", "two"], "ps shows supervisord"
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(lines()) == 2)
    forked, executed = lines()
    assert (forked.pop("libraries"), executed.pop("libraries")) == (True, False)
    ours = forked.pop("ours")
    assert isinstance(ours, list)
    assert all(name.startswith(("zmart.local", "zmart.errors", "zmart.hidden_packages")) for name in ours), (
        ours
    )
    assert executed.pop("ours") == []
    assert forked == executed
    process.kill()
    process.wait()
    wait_for(lambda: not process_group.members(home))


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS.keys())
def test_a_forked_program_ends_as_an_executed_one(home: Path, text: str) -> None:
    command, environment = module(home, text)
    executed, forked = (
        subprocess.run(how, env=environment, capture_output=True, text=True, check=False, timeout=60)
        for how in (command, [sys.executable, "-c", FORK, *command])
    )
    assert (forked.returncode, forked.stdout) == (executed.returncode % 256, executed.stdout)
    assert forked.stderr.splitlines()[-1:] == executed.stderr.splitlines()[-1:]


def test_a_signal_that_comes_before_a_fork_has_its_own_handlers_ends_it(home: Path) -> None:
    """A SIGTERM that arrives before a forked program has its own handlers ends the program.

    supervisord's handler, which the fork inherits, does not take it.
    """
    command, environment = module(home, "print('it goes on')")
    early = (
        FORK.replace("import_libraries()\n", f"signal.signal(signal.SIGTERM, print)\n{BLOCKED}\n", 1)
        .replace("import os, sys", "import os, signal, sys")
        .replace("if pid == 0:\n", "if pid == 0:\n    os.kill(os.getpid(), signal.SIGTERM)\n")
    )
    done = subprocess.run(
        [sys.executable, "-c", early, *command], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", -signal.SIGTERM % 256)


def test_signals_are_blocked_while_a_program_is_forked(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    masks = []
    monkeypatch.setattr(PersistentProcess, "has_libraries", True)
    monkeypatch.setattr(
        Subprocess, "spawn", lambda self: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    )
    started = object.__new__(PersistentProcess)
    started.config = SimpleNamespace(command=shlex.join(module(home, "")[0]))
    for started.laststop in (0, 1):
        started.spawn()
    assert set(HANDLED) <= masks[0]
    assert not set(HANDLED) & masks[1], "a program that is executed would keep them blocked"
    assert not set(HANDLED) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(
    "command",
    [
        ["/bin/true"],
        [sys.executable, "-m", "zmart.cli"],
        start_command(["/bin/true", "-m", "zmart.cli"], die_with_parent=signal.SIGTERM),
        start_command([sys.executable, "-c", "pass"], die_with_parent=signal.SIGTERM),
    ],
)
def test_other_programs_are_executed(command: list[str]) -> None:
    assert ForkedCommand.of(command) is None


def test_libraries_bring_no_module_and_no_metric_of_ours() -> None:
    """Importing the libraries before a fork defines no metric: a program exports only its own modules' metrics."""
    code = (
        "import sys; from zmart.local.forked_start import import_libraries; import_libraries()\n"
        "from prometheus_client import REGISTRY\n"
        "print(sorted(name for name in sys.modules if name.startswith('zmart')))\n"
        "print([m.name for m in REGISTRY.collect() if not m.name.startswith(('python_', 'process_'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, metrics = done.stdout.splitlines()
    assert metrics == "[]"
    assert set(json.loads(modules.replace("'", '"'))) <= {
        *("zmart", "zmart.errors", "zmart.hidden_packages"),
        *("zmart.local", "zmart.local.forked_start", "zmart.local.start_program"),
    }


@pytest.mark.parametrize(
    "raising", ["SystemExit('no license')", "BaseException('a panic')", "OSError('no file')"]
)
def test_a_library_that_fails_is_left_to_the_program_that_needs_it(home: Path, raising: str) -> None:
    (home / "broken_library.py").write_text(f"raise {raising}")
    code = (
        "import sys; from zmart.local import forked_start\n"
        "forked_start.LIBRARIES = ('broken_library', 'base58'); forked_start.import_libraries()\n"
        "print('base58' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_every_library_is_there() -> None:
    """Every name in LIBRARIES can be imported; a wrong name would not fail, only slow down the start."""
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", code, *LIBRARIES], check=True)
