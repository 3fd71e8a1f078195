"""What /ready shows of a server is said within a second, also while the server hangs."""

from __future__ import annotations

import asyncio

import pytest

from kit.machine_time import machine_time, seconds_since
from kit.waiting import until
from zmart.errors import Unavailable
from zmart.services.known_answers import KnownAnswer

SILENT = "PostgreSQL does not answer."


class _Server:
    """A server that answers with the number of questions so far; it hangs while `answers` is cleared."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.failure: Exception | None = None

    async def ask(self) -> int:
        self.asked += 1
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return self.asked


@pytest.fixture
async def server() -> _Server:
    return _Server()


def _answer(server: _Server, within_s: float = 0.05, silent_s: float = 0.3) -> KnownAnswer[int]:
    return KnownAnswer(server.ask, SILENT, within_s, silent_s)


async def test_each_caller_gets_the_present_answer(server: _Server) -> None:
    answer = _answer(server)
    assert [await answer.get() for _ in range(3)] == [1, 2, 3]


async def test_callers_at_once_share_one_question(server: _Server) -> None:
    answer = _answer(server)
    assert await asyncio.gather(*(answer.get() for _ in range(10))) == [1] * 10


async def test_a_server_that_never_answered_is_silent(server: _Server) -> None:
    server.answers.clear()
    answer, began = _answer(server), machine_time()
    with pytest.raises(Unavailable, match=SILENT):
        await answer.get()
    assert seconds_since(began) < 0.2
    answer.close()


async def test_a_slow_answer_leaves_the_last_one_valid_until_the_server_counts_as_silent(
    server: _Server,
) -> None:
    """A busy machine must not make a service unready for a moment."""
    answer = _answer(server)
    assert await answer.get() == 1
    server.answers.clear()
    assert await answer.get() == 1

    async def reason() -> str:
        try:
            return str(await answer.get())
        except Unavailable as problem:
            return str(problem)

    await until(reason, lambda said: said == SILENT, within_s=3)
    server.answers.set()
    await until(reason, lambda said: said.isdigit(), within_s=1)
    answer.close()


async def test_a_question_that_is_not_answered_is_asked_again(server: _Server) -> None:
    """The connection may be dead although the server answers again."""
    server.answers.clear()
    answer = _answer(server, silent_s=0.1)
    for _ in range(4):
        with pytest.raises(Unavailable):
            await answer.get()
    assert server.asked >= 2
    answer.close()


async def test_the_error_of_the_server_is_the_reason_also_while_it_is_slow(server: _Server) -> None:
    answer, server.failure = _answer(server), Unavailable("PostgreSQL is starting.")
    with pytest.raises(Unavailable, match="starting"):
        await answer.get()
    server.answers.clear()
    with pytest.raises(Unavailable, match="starting"):
        await answer.get()
    answer.close()
