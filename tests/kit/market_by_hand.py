"""Drive the pages as a trader does: connect a wallet of the Wallet Standard, fill forms and press buttons."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect
from solders.keypair import Keypair

from kit import standard_wallet
from kit.explorer_browser import reader
from kit.standard_wallet import SendingWallet
from kit.waiting import until
from zmart.chain.rpc import Rpc
from zmart.market.types import Address, Lamports
from zmart.settings import Settings

PART = "[data-part]"
_FUNDS = Lamports(100 * 10**9)


@dataclass(frozen=True)
class Trader:
    """A page of the explorer and the key of the wallet in it."""

    page: Page
    key: Keypair

    @property
    def address(self) -> str:
        return str(self.key.pubkey())

    @property
    def status(self) -> Locator:
        """The panel's text about the user's last action."""
        return self.page.locator(f"{PART} [data-status]").first

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def connect(self) -> None:
        """Press "Connect wallet" and choose the wallet in the dialog."""
        await self.button("Connect wallet").click()
        await self.choose()

    async def choose(self) -> None:
        await self.page.locator("dialog").get_by_role("button", name=standard_wallet.NAME).click()
        await expect(self.page.locator("[data-wallet-link]")).to_contain_text("SOL")

    async def propose(self, question: str) -> str:
        """Propose a market on the page /new; return the URL of the market's page."""
        await self.page.goto("/new")
        await self.page.get_by_label("Question").fill(question)
        await self.button("Propose").click()
        await self.choose()
        await self.page.wait_for_url("**/markets/*")
        return self.page.url

    async def reload_until(self, text: str) -> None:
        """Reload the page until it contains `text`; the server's knowledge of the chain's time may be 2 s old."""

        async def shown() -> bool:
            await self.page.reload()
            return await self.page.get_by_text(text).count() > 0

        await until(shown)

    async def press(self, name: str, answer: str) -> None:
        """Press the button once it is enabled, and wait until the panel's status contains `answer`."""
        await self.button(name).click()
        await expect(self.status).to_contain_text(answer)

    async def buy(self, outcome: str, sol: str) -> None:
        await self.page.locator(f"[data-trade] label.{outcome.lower()}").click()
        await self.page.get_by_label("SOL to spend").fill(sol)
        await expect(self.page.locator("[data-quote]")).to_contain_text(f"Payout if {outcome}")
        await self.press(f"Buy {outcome}", "Bought")

    async def propose_outcome(self, outcome: str, evidence: str) -> None:
        await self.page.get_by_text("Propose the outcome", exact=True).click()
        await self.page.locator(f"[data-resolve] label.{outcome.lower()}").click()
        await self.page.get_by_label("Evidence").fill(evidence)
        await self.press("Propose this outcome", f"You proposed {outcome}")

    async def dispute(self, reason: str) -> None:
        """Dispute the proposed outcome; press again as long as the panel says "too early".

        The program refuses a dispute in the second of the proposal, which may see several presses.
        """
        await self.page.get_by_label("Why it is wrong").fill(reason)

        async def answer() -> str:
            await self.status.evaluate("line => line.replaceChildren()")
            await self.button("Dispute the outcome").click()
            await expect(self.status).to_contain_text(re.compile("Disputed|too early"))
            return await self.status.inner_text()

        await until(answer, lambda text: "Disputed" in text)


@asynccontextmanager
async def trader(
    browser: Browser,
    stack: Settings,
    *,
    sending: SendingWallet | None = None,
    url: str = "",
    chain: str = "solana:localnet",
    **options: Any,
) -> AsyncIterator[Trader]:
    """Yield a trader with 100 SOL in a wallet of `chain` that is not connected yet, before the pages at `url`.

    They are those of the stack's gateway by default. With `sending`, the wallet sends transactions itself and offers no
    signing without sending.
    """
    key = Keypair()
    async with Rpc.from_settings(stack) as rpc:
        await rpc.request_airdrop(Address(str(key.pubkey())), _FUNDS)
        await until(lambda: rpc.get_balance(Address(str(key.pubkey()))), lambda held: held == _FUNDS)
    async with reader(browser, url or f"http://127.0.0.1:{stack.api_port}", **options) as page:
        await standard_wallet.install(page, key, sending, chains=[chain])
        yield Trader(page, key)
