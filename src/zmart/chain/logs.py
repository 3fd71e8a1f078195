"""Attribute log lines to programs, by walking a transaction's log with a stack of invocations.

Any user can make another program log any bytes. So a `Program data:` line counts only while our program is running. The
walk stops at `Log truncated`: the runtime may still log short lines after it, but the invocations between them are
lost.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from zmart.market.identifiers import ADDRESS_FORM

_INVOKE = re.compile(rf"Program ({ADDRESS_FORM}) invoke \[(\d{{1,3}})\]")
_RETURN = re.compile(rf"Program ({ADDRESS_FORM}) (?:success|failed: .*)", re.DOTALL)
_LONGEST_CACHED = len(f"Program {'1' * 44} invoke [999]")
_DATA = "Program data: "
_TRUNCATED = "Log truncated"


class Payload(msgspec.Struct, frozen=True):
    """Hold the data of one `Program data:` line of the program.

    `invocation` is the number of the program's invocation in the transaction, from 0, in execution order. `data` is
    None if the line is not one piece of base64.
    """

    invocation: int
    data: bytes | None


class LogWalk(msgspec.Struct, frozen=True):
    """Hold the result of `walk`.

    `payloads` are those of the program, in order. `invocations` counts the program's invocations in the lines that were
    read. `truncated`: the log has the line `Log truncated`, and only the lines before it were read. `broken`: lines are
    missing without that line, so it is unknown which are present. The walk concludes this from a depth or an end that
    does not follow, or from an invocation that never ends.
    """

    payloads: tuple[Payload, ...]
    truncated: bool
    invocations: int = 0
    broken: bool = False


def walk(lines: Sequence[str], program_id: str) -> LogWalk:
    """Walk a log and return the payloads that `program_id` itself logged.

    Never raises, whatever the lines contain.
    """
    payloads: list[Payload] = []
    stack: list[tuple[str, int]] = []
    invocations, broken = 0, False
    for line in lines:
        if line.startswith("Program log: "):
            continue
        if line == _TRUNCATED:
            return LogWalk(tuple(payloads), truncated=True, invocations=invocations, broken=broken)
        if line.startswith(_DATA):
            if stack and stack[-1][0] == program_id:
                payloads.append(Payload(stack[-1][1], _base64(line[len(_DATA) :])))
        elif line.endswith("]") and (invoked := _invoked(line)):
            program, depth = invoked
            ours = program == program_id
            broken |= not _enter(stack, program, depth, invocations if ours else -1)
            invocations += ours
        elif (line.endswith(" success") or " failed: " in line) and (returned := _returned(line)):
            broken |= not _leave(stack, returned)
    return LogWalk(tuple(payloads), False, invocations, broken or bool(stack))


def _invoked(line: str) -> tuple[str, int] | None:
    """Return the program that a line reports as invoked, and its depth; None for any other line."""
    return _match_invoke(line) if len(line) <= _LONGEST_CACHED else None


# A few programs write nearly all of these lines, so their matches are cached. Those of longer lines are not.
@lru_cache(maxsize=4096)
def _match_invoke(line: str) -> tuple[str, int] | None:
    match = _INVOKE.fullmatch(line)
    return (match[1], int(match[2])) if match else None


def _returned(line: str) -> str | None:
    """Return the program that a line reports as ended; None for any other line."""
    return _match_return(line) if len(line) <= _LONGEST_CACHED else _match_return.__wrapped__(line)


@lru_cache(maxsize=4096)
def _match_return(line: str) -> str | None:
    match = _RETURN.fullmatch(line)
    return match[1] if match else None


def _enter(stack: list[tuple[str, int]], program: str, depth: int, invocation: int) -> bool:
    """Push an invocation; return whether its depth follows from the stack.

    Another depth means that lines are lost: the stack is cut back to that depth, or cleared if the depth leaves a gap.
    """
    if depth == len(stack) + 1:
        stack.append((program, invocation))
        return True
    del stack[max(depth - 1, 0) :]
    if depth == len(stack) + 1:
        stack.append((program, invocation))
    else:
        stack.clear()
    return False


def _leave(stack: list[tuple[str, int]], program: str) -> bool:
    if stack and stack[-1][0] == program:
        stack.pop()
        return True
    stack.clear()
    return False


def _base64(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
