"""Wallets of the tests in a page: registered by the Wallet Standard, signing here with the key that each is given."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from playwright.async_api import Page
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from kit.installed import ROOT
from zmart.chain.rpc import Rpc
from zmart.market.types import Signature

NAME = "Wallet of the tests"
_SCRIPT = ROOT / "clients" / "typescript" / "test" / "wallet.js"
Sender = Callable[[bytes], Awaitable[object]]


@dataclass
class SendingWallet:
    """What a wallet that sends transactions itself does with one: `send`, each time that it is asked.

    It answers with the signature, or fails with what `send` raises. `asked`: for which chain, in turn.
    """

    send: Sender
    asked: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)


async def nowhere(_: bytes) -> None:
    """Send to another cluster, whose node takes it without a preflight and drops it."""


def to(rpc: Rpc) -> Sender:
    """Send to this chain."""

    async def send(transaction: bytes) -> Signature:
        return await rpc.send_raw_transaction(transaction)

    return send


async def install(page: Page, key: Keypair, sending: SendingWallet | None = None, **options: object) -> None:
    """Give every document of the page from now on a wallet with this key. `options`: see wallet.js."""

    def signed(transaction: str) -> VersionedTransaction:
        return VersionedTransaction(
            VersionedTransaction.from_bytes(bytes.fromhex(transaction)).message, [key]
        )

    def sign_message(message: str) -> str:
        return bytes(key.sign_message(bytes.fromhex(message))).hex()

    async def send_transaction(transaction: str, chain: str) -> str:
        assert sending is not None
        sending.asked.append(chain)
        made = signed(transaction)
        await sending.send(bytes(made))
        sending.signatures.append(str(made.signatures[0]))
        return bytes(made.signatures[0]).hex()

    await page.expose_function("signMessageHex", sign_message)
    await page.expose_function("signTransactionHex", lambda transaction: bytes(signed(transaction)).hex())
    await page.expose_function("sendTransactionHex", send_transaction)
    await add(page, str(key.pubkey()), sends=sending is not None, **options)


async def add(page: Page, address: str, **options: object) -> None:
    """Register one more wallet, which signs as the installed one does."""
    script = _SCRIPT.read_text("utf-8").replace("ADDRESS", address)
    await page.add_init_script(script.replace("= OPTIONS;", f"= {json.dumps(options)};"))
