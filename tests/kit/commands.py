"""The `zmart` command in a process of its own, with the settings that a test gives it."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process

ZMART = (sys.executable, "-m", "zmart.cli")


def environment(**settings: object) -> dict[str, str]:
    """The variables of a command: our own, no settings file, the local environment, and these settings."""
    given = {name.upper(): str(value) for name, value in settings.items()}
    return {**os.environ, "ZMART_ENV": "local", "ZMART_ENV_FILE": os.devnull, **given}


async def start(
    *arguments: str, env: dict[str, str], stdout: object = None, stderr: object = None
) -> Process:
    """Start a command that runs until it is ended."""
    return await asyncio.create_subprocess_exec(*ZMART, *arguments, env=env, stdout=stdout, stderr=stderr)


async def run(*arguments: str, env: dict[str, str]) -> tuple[int, str, str]:
    """Run a command to its end; its exit status and what it printed, to stdout and to stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await start(*arguments, env=env, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
