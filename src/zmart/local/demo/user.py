"""Act as one user of the play: with its own key and session."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import datetime

import msgspec
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from zmart.errors import ZmartError
from zmart.local.demo.api import Api, ApiRefusal, Json, until
from zmart.market.times import iso

_MOST_TRIES = 3


class ExpiredBeforeLanding(ZmartError):
    """A transaction did not land in time and never will: it may be built and signed again."""


class LandedTransaction(msgspec.Struct, frozen=True):
    """Hold a transaction that is on chain."""

    signature: str
    slot: int


class DemoUser:
    """Act over HTTP only, and sign with its own key only."""

    def __init__(self, name: str, api: Api, key: Keypair | None = None) -> None:
        self.name = name
        self.key = key or Keypair()
        self.wallet = str(self.key.pubkey())
        self._api = api
        self._token = ""

    async def sign_in(self) -> None:
        """Sign in with Solana: request the text, sign it, get a session."""
        text = await self._api.post("/api/auth/nonce", {"wallet": self.wallet})
        answer = await self._api.post(
            "/api/auth/verify",
            {
                "wallet": self.wallet,
                "message": text["message"],
                "signature": str(self.key.sign_message(str(text["message"]).encode())),
            },
        )
        self._token = str(answer["token"])

    async def post(self, path: str, body: Json) -> Json:
        """Send a POST request in the user's session."""
        return await self._api.post(path, body, self._token)

    async def delete(self, path: str) -> None:
        """Send a DELETE request in the user's session."""
        await self._api.delete(path, self._token)

    async def transact(self, path: str, body: Json) -> tuple[Json, LandedTransaction]:
        """Request a transaction, sign it, send it through the API, wait until it landed. One that expired, as when the
        chain's process was killed with it, is requested again."""
        for left in reversed(range(_MOST_TRIES)):
            answer = await self.post(path, body)
            try:
                return answer, await self.send(answer)
            except ExpiredBeforeLanding:
                if not left:
                    raise
        raise AssertionError("a try returns or raises")

    async def send(self, answer: Json) -> LandedTransaction:
        """Sign and relay a transaction that the API built."""
        if not answer["simulation"]["ok"]:
            raise ZmartError(f"the simulation of {self.name}'s transaction failed: {answer['simulation']}")
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(str(answer["transaction"])))
        return await self.relay(VersionedTransaction(unsigned.message, [self.key]))

    async def relay(self, transaction: VersionedTransaction) -> LandedTransaction:
        """Send a signed transaction; safe to repeat, since its signature is its identity."""
        signature = str(transaction.signatures[0])
        raw = base64.b64encode(bytes(transaction)).decode()
        try:
            await self._api.post("/api/transactions", {"transaction": raw})
        except ApiRefusal as refused:
            if "BlockhashNotFound" not in str(refused):
                raise
            return await self._earlier(signature, refused)
        state = await until(
            lambda: self._api.get(f"/api/transactions/{signature}"),
            lambda state: state["status"] not in ("live", "unknown"),
            f"the outcome of transaction {signature}",
        )
        if state["status"] != "landed":
            error = ExpiredBeforeLanding if state["status"] == "expired" else ZmartError
            raise error(f"{self.name}'s transaction {signature} is {state['status']}: {state.get('error')}")
        return LandedTransaction(signature, int(state["slot"]))

    async def _earlier(self, signature: str, refused: ApiRefusal) -> LandedTransaction:
        """Return what an attempt whose response was lost has done. Raises ExpiredBeforeLanding if it has not landed: a
        restart of the chain made it too old."""
        with suppress(ApiRefusal):
            state = await self._api.get(f"/api/transactions/{signature}")
            if state["status"] == "landed":
                return LandedTransaction(signature, int(state["slot"]))
        raise ExpiredBeforeLanding(str(refused))

    async def vote(self, program_id: str, market_id: str, kind: str, choice: str, at: datetime) -> Json:
        """Sign the statement of a vote and post it. Returns the answer.

        Returns {"receipt": None} if a repeated attempt gets 409: an earlier one was accepted, and its answer was lost.
        """
        statement = (
            f"ZMART vote\nprogram: {program_id}\nmarket: {market_id}\nkind: {kind}\n"
            f"choice: {choice}\nwallet: {self.wallet}\nissued: {iso(at)}"
        )
        body: Json = {
            "market_id": market_id,
            "vote_choice": choice,
            "wallet": self.wallet,
            "statement": statement,
            "signature": str(self.key.sign_message(statement.encode())),
        }
        try:
            return await self.post(f"/api/votes/{kind}", body)
        except ApiRefusal as refused:
            if refused.status == 409 and refused.is_retry:
                return {"receipt": None}
            raise
