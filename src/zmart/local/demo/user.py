"""Act as one user of the demo, with a wallet and a session of its own."""

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
    """A transaction's blockhash expired before it landed: it can no longer land, and may be built and signed again."""


class LandedTransaction(msgspec.Struct, frozen=True):
    """The signature and the slot of a transaction that is on chain."""

    signature: str
    slot: int


class DemoUser:
    """A user of the demo, who uses only the HTTP API and signs only with its own wallet's key."""

    def __init__(self, name: str, api: Api, key: Keypair | None = None) -> None:
        self.name = name
        self.key = key or Keypair()
        self.wallet = str(self.key.pubkey())
        self._api = api
        self._token = ""

    async def sign_in(self) -> None:
        """Sign in with Solana: request a text with a nonce, sign it, and get the token of a session.

        Begins again with another nonce, twice at most, if a repeated attempt gets 401: an earlier one used the nonce,
        and its response was lost. Raises ApiRefusal, ZmartError.
        """
        for left in reversed(range(_MOST_TRIES)):
            try:
                self._token = await self._session()
            except ApiRefusal as refused:
                if not (refused.status == 401 and refused.is_retry and left):
                    raise
            else:
                return

    async def _session(self) -> str:
        text = await self._api.post("/api/auth/nonce", {"wallet": self.wallet})
        answer = await self._api.post(
            "/api/auth/verify",
            {
                "wallet": self.wallet,
                "message": text["message"],
                "signature": str(self.key.sign_message(str(text["message"]).encode())),
            },
        )
        return str(answer["token"])

    async def post(self, path: str, body: Json) -> Json:
        """Send a POST request in the user's session, and return the decoded body of the response."""
        return await self._api.post(path, body, self._token)

    async def delete(self, path: str) -> None:
        """Send a DELETE request in the user's session."""
        await self._api.delete(path, self._token)

    async def transact(self, path: str, body: Json) -> tuple[Json, LandedTransaction]:
        """Request a transaction from the API, sign it, send it through the API, and wait until it has landed.

        Returns the API's response with the transaction, and where it landed. A transaction that expired, for example
        because the chain's process was killed, is requested again, twice at most. Raises ApiRefusal, ZmartError.
        """
        for left in reversed(range(_MOST_TRIES)):
            answer = await self.post(path, body)
            try:
                return answer, await self.send(answer)
            except ExpiredBeforeLanding:
                if not left:
                    raise
        raise AssertionError("a try returns or raises")

    async def send(self, answer: Json) -> LandedTransaction:
        """Sign and relay the transaction in a response of the API. Raises ZmartError if its simulation failed."""
        if not answer["simulation"]["ok"]:
            raise ZmartError(f"the simulation of {self.name}'s transaction failed: {answer['simulation']}")
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(str(answer["transaction"])))
        return await self.relay(VersionedTransaction(unsigned.message, [self.key]))

    async def relay(self, transaction: VersionedTransaction) -> LandedTransaction:
        """Send a signed transaction through the API, and wait until it has landed.

        Sending it again has no effect if it has landed. Raises ExpiredBeforeLanding, ApiRefusal, ZmartError.
        """
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
        """Return where a refused transaction landed by an earlier attempt, whose response was lost.

        Raises ExpiredBeforeLanding if it has not landed: a restart of the chain expired its blockhash.
        """
        with suppress(ApiRefusal):
            state = await self._api.get(f"/api/transactions/{signature}")
            if state["status"] == "landed":
                return LandedTransaction(signature, int(state["slot"]))
        raise ExpiredBeforeLanding(str(refused))

    async def vote(self, program_id: str, market_id: str, kind: str, choice: str, at: datetime) -> Json:
        """Sign the statement of a vote, issued at `at`, and post it. Returns the decoded body of the response.

        Returns {"receipt": None} if a repeated attempt gets 409: an earlier one was accepted, and its response was
        lost. Raises ApiRefusal, ZmartError.
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
