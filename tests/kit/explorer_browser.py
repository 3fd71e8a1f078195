"""Headless Chromium for the tests of the explorer: it collects errors, takes screenshots and runs axe on pages."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

from kit.installed import ROOT, missing, npm_packages

SHOTS = ROOT / "artifacts" / "explorer"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_JUDGE = """async () => {
    const {violations, passes} = await axe.run(document, {resultTypes: ["violations"]});
    const grave = violations.filter(found => ["serious", "critical"].includes(found.impact));
    return [passes.length,
        grave.map(found => `${found.id}: ${found.nodes.map(node => node.target.join(" ")).slice(0, 4).join(" | ")}`)];
}"""
_LEAST_RULES = 15
_PATIENCE_MS = 15_000
expect.set_options(timeout=_PATIENCE_MS)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str:
    """Return the path of Chromium or Chrome; without one, tests fail on CI and are skipped elsewhere."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    return missing("The explorer's tests need a browser: install it (Debian: apt install chromium).")


def axe_source() -> str:
    """Return the JavaScript of axe-core, in the pinned version."""
    script = npm_packages(Path(__file__).parent / "axe") / "node_modules" / "axe-core" / "axe.min.js"
    return script.read_text("utf-8")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def reader(browser: Browser, base_url: str, **options: Any) -> AsyncIterator[Page]:
    """Yield a page in a browser context of its own.

    AssertionError at the end when JavaScript of the page threw, or when the content security policy refused something.
    """
    context = await browser.new_context(base_url=base_url, **{"viewport": DESKTOP, **options})
    context.set_default_timeout(_PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    try:
        yield page
        assert complaints == []
    finally:
        await context.close()


async def keep(page: Page, name: str) -> None:
    """Save a screenshot of the whole page in SHOTS if SCREENSHOTS is set, as in long runs; it takes seconds."""
    if "SCREENSHOTS" in os.environ:
        await page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


async def faults(page: Page, axe: str) -> list[str]:
    """Return the serious and critical violations that axe finds on the current page, one text for each rule.

    AssertionError when fewer than 15 of axe's rules passed: then it has not seen the page.
    """
    await page.evaluate(axe)  # the content security policy does not apply to it
    passed, result = await page.evaluate(_JUDGE)
    assert passed >= _LEAST_RULES, f"axe found only {passed} rules to apply"
    return list(result)
