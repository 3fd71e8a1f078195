"""The demo's user: what it does after a transaction has expired, failed or landed."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from zmart.errors import ZmartError
from zmart.local.demo.api import ApiRefusal
from zmart.local.demo.user import DemoUser, ExpiredBeforeLanding


class ScriptedApi:
    """An API whose transactions end with the statuses in `ends`, one after the other."""

    def __init__(self, key: Keypair, ends: list[str]) -> None:
        self.key = key
        self.ends = ends
        self.relayed: list[str] = []
        self.refusals: list[str] = []

    async def post(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        if path == "/api/transactions":
            self.relayed.append(body["transaction"])
            if self.refusals and (message := self.refusals.pop(0)):
                raise ApiRefusal(409, message, is_retry=False)
            return {}
        payer = self.key.pubkey()
        instruction = transfer(TransferParams(from_pubkey=payer, to_pubkey=payer, lamports=1))
        message = MessageV0.try_compile(payer, [instruction], [], Hash.new_unique())
        unsigned = VersionedTransaction.populate(message, [])
        return {"simulation": {"ok": True}, "transaction": base64.b64encode(bytes(unsigned)).decode()}

    async def get(self, path: str) -> dict[str, Any]:
        return {"status": self.ends[len(self.relayed) - 1], "slot": len(self.relayed), "error": None}


class ForgetfulApi:
    """An API that accepts each nonce once. The responses to the first `lost` sign-ins are lost, so that the request is
    sent again."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.nonces = 0

    async def post(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        if path == "/api/auth/nonce":
            self.nonces += 1
            return {"message": f"Nonce: {self.nonces}"}
        if self.lost:
            self.lost -= 1
            raise ApiRefusal(401, "The nonce is unknown, used or older than 5 minutes", is_retry=True)
        return {"token": body["message"]}


@pytest.mark.parametrize(("lost", "nonces"), [(0, 1), (1, 2), (2, 3)])
async def test_a_sign_in_whose_response_was_lost_is_begun_again(lost: int, nonces: int) -> None:
    api = ForgetfulApi(lost)
    await DemoUser("Ada", api).sign_in()  # type: ignore[arg-type]
    assert api.nonces == nonces


async def test_a_sign_in_that_is_refused_again_and_again_is_given_up() -> None:
    api = ForgetfulApi(99)
    with pytest.raises(ApiRefusal):
        await DemoUser("Ada", api).sign_in()  # type: ignore[arg-type]
    assert api.nonces == 3


def user(ends: list[str]) -> tuple[DemoUser, ScriptedApi]:
    key = Keypair()
    api = ScriptedApi(key, ends)
    return DemoUser("Ada", api, key), api  # type: ignore[arg-type]  # it calls what is scripted


async def test_a_transaction_that_expired_is_built_and_signed_again() -> None:
    """C1: an expired transaction can never land (the chain was killed), so the user builds and signs another one."""
    ada, api = user(["expired", "expired", "landed"])
    _, landed = await ada.transact("/api/trades/buy", {})
    assert landed.slot == 3
    assert len(set(api.relayed)) == 3


@pytest.mark.parametrize(("end", "built"), [("unknown", 2), ("landed", 1)])
async def test_one_that_is_too_old_at_its_sending_is_built_again_unless_an_earlier_attempt_landed(
    end: str, built: int
) -> None:
    """C1: the chain was killed after a transaction was built, so the transaction is too old when it is sent.

    The user builds another one, unless an earlier attempt landed.
    """
    ada, api = user([end, "landed"])
    api.refusals = ["/api/transactions: BlockhashNotFound (-1): The transaction is too old."]
    _, landed = await ada.transact("/api/trades/buy", {})
    assert (landed.slot, len(set(api.relayed))) == (built, built)


async def test_another_refusal_is_not_tried_again() -> None:
    ada, api = user(["unknown"])
    api.refusals = ["/api/transactions: SlippageExceeded (6013): The price moved."]
    with pytest.raises(ApiRefusal, match="SlippageExceeded"):
        await ada.transact("/api/trades/buy", {})


@pytest.mark.parametrize(("end", "relayed"), [("failed", 1), ("expired", 3)])
async def test_one_that_failed_is_not_sent_again_and_one_that_expires_again_and_again_is_given_up(
    end: str, relayed: int
) -> None:
    ada, api = user([end] * relayed)
    with pytest.raises(ZmartError, match=f"is {end}") as raised:
        await ada.transact("/api/trades/buy", {})
    assert isinstance(raised.value, ExpiredBeforeLanding) == (end == "expired")
    assert len(api.relayed) == relayed
