"""The webhook's sender: transactions are delivered late, twice, in another order, not at all, or falsified."""

from __future__ import annotations

import asyncio
import base64
import copy
import random
from collections.abc import Awaitable, Callable

import base58
import msgspec
from options import Options
from simulated_chain import LandedTransaction
from transaction_json import told

from zmart.chain.program import Program
from zmart.market import events as e

_PLACE = "indexWithinBlock"


class Deliveries:
    """Delivers landed transactions of the program as the options say; `landed(tx)` is called for each transaction.

    The function `deliver` posts a body to the webhook, `note` adds a line to the trace. Once `honest` is true, each
    transaction is delivered once and truly.
    """

    def __init__(
        self,
        options: Options,
        chance: random.Random,
        program: Program,
        deliver: Callable[[bytes], Awaitable[None]],
        note: Callable[[str], None],
    ) -> None:
        self._options, self._chance, self._program, self._deliver = options, chance, program, deliver
        self._note = note
        self.honest = False
        self._tasks: set[asyncio.Task] = set()

    def landed(self, tx: LandedTransaction) -> None:
        if self._program.address not in tx.keys:
            return
        options, chance = self._options, self._chance
        if not self.honest and chance.random() < options.webhook_lies:
            kind = chance.choice(options.lies)
            self._note(f"a delivery will lie about {tx.signature[:8]}: {kind}")
            self._later(self._lie(tx, kind), chance.uniform(0, 2.0))
        if self.honest or chance.random() >= options.webhook_loss:
            times = 1 + (not self.honest and chance.random() < options.webhook_repeats)
            for _ in range(times):
                self._later([self._truth(tx)], chance.expovariate(1 / options.webhook_delay_s))

    def _truth(self, tx: LandedTransaction) -> dict:
        element = told(tx)
        if self._chance.random() < 0.8:
            element[_PLACE] = tx.index
        return element

    def _later(self, elements: list, delay_s: float) -> None:
        task = asyncio.create_task(self._after(delay_s, msgspec.json.encode(elements)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _after(self, delay_s: float, body: bytes) -> None:
        await asyncio.sleep(delay_s)
        await self._deliver(body)

    def _lie(self, tx: LandedTransaction, kind: str) -> list:
        """Return the elements of a false delivery of the transaction, of this kind (one of LIES)."""
        element = copy.deepcopy(told(tx))
        element[_PLACE] = tx.index
        match kind:
            case "forged logs":
                element["meta"]["logMessages"] = self._forged(element["meta"]["logMessages"])
            case "dropped instructions":
                element["transaction"]["message"]["instructions"] = []
                element["meta"]["innerInstructions"] = []
            case "invented signature":
                element["transaction"]["signatures"] = [base58.b58encode(self._chance.randbytes(64)).decode()]
                element["slot"] += self._chance.choice([-40, 0, 3, 500])
            case "pretended failure":
                element["meta"]["err"] = {"InstructionError": [0, {"Custom": 6007}]}
            case "garbage":
                return [{"signature": tx.signature, "transaction": 7}, self._truth(tx)]
        return [element]

    def _forged(self, lines: list[str]) -> list[str]:
        """Replace each vote in the log by votes of 1 to 20 invented wallets and the opposite of its own."""
        forged: list[str] = []
        for line in lines:
            event = self._event(line)
            if isinstance(event, e.ProposalVoteSubmitted | e.DisputeVoteSubmitted):
                for _ in range(self._chance.randint(1, 20)):
                    user = base58.b58encode(self._chance.randbytes(32)).decode()
                    forged.append(self._line(msgspec.structs.replace(event, user=user)))
                forged.append(self._line(msgspec.structs.replace(event, vote=not event.vote)))
            else:
                forged.append(line)
        return forged

    def _event(self, line: str):
        data = line.removeprefix("Program data: ")
        return None if data == line else self._program.events.decode(base64.b64decode(data))

    def _line(self, event) -> str:
        return "Program data: " + base64.b64encode(self._program.events.encode(event)).decode()
