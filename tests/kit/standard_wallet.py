"""Wallets in a browser page, registered by the Wallet Standard, that sign in the test process with given keys."""

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
    """How a wallet that sends transactions itself sends them: by the function `send`.

    The wallet answers with the signature, or fails with the exception of `send`. `asked` holds the chain of each
    request, `signatures` the signature of each sent transaction, in order.
    """

    send: Sender
    asked: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)


async def nowhere(_: bytes) -> None:
    """Drop a transaction, as a node of another cluster does that accepts it without a preflight."""


def to(rpc: Rpc) -> Sender:
    """Return a function that sends a transaction to this chain and returns the signature."""

    async def send(transaction: bytes) -> Signature:
        return await rpc.send_raw_transaction(transaction)

    return send


async def install(page: Page, key: Keypair, sending: SendingWallet | None = None, **options: object) -> None:
    """Register a wallet with this key in every document that the page loads from now on.

    With `sending`, the wallet sends transactions itself. `options` are described in wallet.js.
    """

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
    """Register one more wallet with this address, which signs with the key of the installed one."""
    script = _SCRIPT.read_text("utf-8").replace("ADDRESS", address)
    await page.add_init_script(script.replace("= OPTIONS;", f"= {json.dumps(options)};"))


async def connect(page: Page) -> None:
    """Connect the installed wallet in the page's dialog."""
    await page.get_by_role("button", name="Connect wallet").click()
    await page.locator("dialog").get_by_role("button", name=NAME).click()
