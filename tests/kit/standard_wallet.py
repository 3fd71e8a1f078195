"""A wallet of the tests in a page: registered by the Wallet Standard, signing here with the key that it is given."""

from __future__ import annotations

from playwright.async_api import Page
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from kit.installed import ROOT

NAME = "Wallet of the tests"
_SCRIPT = ROOT / "clients" / "typescript" / "test" / "wallet.js"


async def install(page: Page, key: Keypair) -> None:
    """Give every document of the page from now on a wallet with this key."""

    def sign_message(message: str) -> str:
        return bytes(key.sign_message(bytes.fromhex(message))).hex()

    def sign_transaction(transaction: str) -> str:
        message = VersionedTransaction.from_bytes(bytes.fromhex(transaction)).message
        return bytes(VersionedTransaction(message, [key])).hex()

    await page.expose_function("signMessageHex", sign_message)
    await page.expose_function("signTransactionHex", sign_transaction)
    await page.add_init_script(_SCRIPT.read_text("utf-8").replace("ADDRESS", str(key.pubkey())))
