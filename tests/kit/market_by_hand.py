"""A trader at a page: connects a wallet of the Wallet Standard and presses what a person presses, step by step."""

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
    """A page, and who sits before it."""

    page: Page
    key: Keypair

    @property
    def address(self) -> str:
        return str(self.key.pubkey())

    @property
    def status(self) -> Locator:
        """What the panel says of the last act."""
        return self.page.locator(f"{PART} [data-status]").first

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def connect(self) -> None:
        """Choose the wallet in the dialog of the header."""
        await self.button("Connect wallet").click()
        await self.choose()

    async def choose(self) -> None:
        await self.page.locator("dialog").get_by_role("button", name=standard_wallet.NAME).click()
        await expect(self.page.locator("[data-wallet-link]")).to_contain_text("SOL")

    async def propose(self, question: str) -> str:
        """Propose a market; the market's path."""
        await self.page.goto("/new")
        await self.page.get_by_label("Question").fill(question)
        await self.button("Propose").click()
        await self.choose()
        await self.page.wait_for_url("**/markets/*")
        return self.page.url

    async def reload_until(self, text: str) -> None:
        """Load the page again until it says this; what the server knows of the chain's clock may be two seconds old."""

        async def shown() -> bool:
            await self.page.reload()
            return await self.page.get_by_text(text).count() > 0

        await until(shown)

    async def press(self, name: str, answer: str) -> None:
        """Press the button as soon as it can be pressed, and wait for what the panel then says."""
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
        """The program refuses it in the second of the proposal; who is so quick is told, and presses again."""
        await self.page.get_by_label("Why it is wrong").fill(reason)
        await self.button("Dispute the outcome").click()
        await expect(self.status).to_contain_text(re.compile("Disputed|too early"))
        if "too early" in await self.status.inner_text():
            await self.press("Dispute the outcome", "Disputed")
        await expect(self.status).to_contain_text("Disputed")


@asynccontextmanager
async def trader(
    browser: Browser, stack: Settings, *, sending: SendingWallet | None = None, **options: Any
) -> AsyncIterator[Trader]:
    """A trader with 100 SOL in a wallet that is not connected yet; with `sending` it only sends what it signs."""
    key = Keypair()
    async with Rpc.from_settings(stack) as rpc:
        await rpc.request_airdrop(Address(str(key.pubkey())), _FUNDS)
        await until(lambda: rpc.get_balance(Address(str(key.pubkey()))), lambda held: held == _FUNDS)
    async with reader(browser, f"http://127.0.0.1:{stack.api_port}", **options) as page:
        await standard_wallet.install(page, key, sending)
        yield Trader(page, key)
