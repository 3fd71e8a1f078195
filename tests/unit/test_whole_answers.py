"""A question of several calls is answered by one endpoint as a whole, and a silent endpoint does not hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import pytest

from zmart.chain.rpc import Rpc
from zmart.chain.whole_answers import first_sufficient
from zmart.errors import ChainError


@dataclass
class Endpoint:
    """An endpoint whose answer is `answer`; it is silent without one."""

    answer: str | Exception = ""
    is_paused: bool = False
    is_cancelled: bool = False


async def read(rpcs: list[Endpoint], asked: list[Endpoint], beside_after_s: float = 0.0) -> str:
    async def read_one(rpc: Endpoint) -> str:
        asked.append(rpc)
        if isinstance(rpc.answer, Exception):
            raise rpc.answer
        if not rpc.answer:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                rpc.is_cancelled = True
                raise
        return rpc.answer

    of_one = cast("Callable[[Rpc], Awaitable[str]]", read_one)
    return await first_sufficient(
        cast("list[Rpc]", rpcs), of_one, lambda answer: answer != "unknown", beside_after_s
    )


async def test_a_silent_endpoint_is_not_waited_for_once_another_one_has_answered() -> None:
    silent, other, asked = Endpoint(), Endpoint("held"), list[Endpoint]()
    assert await read([silent, other], asked) == "held"
    assert asked == [silent, other]
    assert silent.is_cancelled


async def test_an_endpoint_that_is_paused_is_asked_last() -> None:
    paused, other, asked = Endpoint("paused", is_paused=True), Endpoint("held"), list[Endpoint]()
    assert await read([paused, other], asked, beside_after_s=600.0) == "held"
    assert asked == [other]
    other.answer = "unknown"
    assert await read([paused, other], asked, beside_after_s=600.0) == "paused"


@pytest.mark.parametrize(
    ("answers", "answer"),
    [
        (["held", "unknown"], "held"),
        (["unknown", "held"], "held"),
        ([ChainError("503"), "held"], "held"),
        (["", "unknown", ChainError("503"), "held"], "held"),
        (["unknown", "unknown"], "unknown"),
    ],
)
async def test_the_next_endpoint_is_asked_at_once_when_an_answer_does_not_suffice(
    answers: list[str | ChainError], answer: str
) -> None:
    beside_after_s = 0.0 if "" in answers else 600.0
    assert await read([Endpoint(each) for each in answers], [], beside_after_s) == answer


async def test_a_failed_endpoint_may_know_later_what_the_others_do_not() -> None:
    """A failure is reported in preference to "unknown": it is not to be taken for what every endpoint says."""
    for answers in ([ChainError("503"), "unknown"], ["unknown", ChainError("503")]):
        with pytest.raises(ChainError, match="503"):
            await read([Endpoint(each) for each in answers], [])


async def test_an_error_that_is_no_failure_of_an_endpoint_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await read([Endpoint(ZeroDivisionError()), Endpoint("held")], [])
