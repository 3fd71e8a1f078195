"""Run Python as a user id without a name, as in containers that run as any user id, by means of a user namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

UID = 12_345
_ENTER = f"""
import ctypes, os, sys
uid, gid = os.getuid(), os.getgid()
if ctypes.CDLL(None).unshare(0x10000000):
    sys.exit("no user namespaces here")
for name, line in (("setgroups", "deny"), ("uid_map", f"{UID} {{uid}} 1"), ("gid_map", f"{UID} {{gid}} 1")):
    with open(f"/proc/self/{{name}}", "w") as file:
        file.write(line)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end as user UID, without HOME and most other environment variables.

    Skips the test where user namespaces are not allowed.
    """
    _require_namespaces()
    given = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ZMART_ENV_FILE": os.devnull, **environment}
    return _run(list(arguments), given)


@cache
def _require_namespaces() -> None:
    if _run(["-c", ""], {}).returncode != 0:
        pytest.skip("user namespaces are not allowed here")


def _run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", _ENTER, *arguments],
        env=environment, capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
