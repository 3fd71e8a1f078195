"""Run the `zmart` command in a process of its own, with the settings of a test."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process

ZMART = (sys.executable, "-m", "zmart.cli")


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a command: this process's, with ZMART_ENV=local, no settings file, and `settings`."""
    given = {name.upper(): str(value) for name, value in settings.items()}
    return {**os.environ, "ZMART_ENV": "local", "ZMART_ENV_FILE": os.devnull, **given}


async def start(
    *arguments: str, env: dict[str, str], stdout: object = None, stderr: object = None
) -> Process:
    """Start a `zmart` command and return its process, which the caller ends."""
    return await asyncio.create_subprocess_exec(*ZMART, *arguments, env=env, stdout=stdout, stderr=stderr)


async def run(*arguments: str, env: dict[str, str]) -> tuple[int, str, str]:
    """Run a `zmart` command to its end; return its exit status, its stdout and its stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await start(*arguments, env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
