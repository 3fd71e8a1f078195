"""Implement `zmart webhook register|list|delete`: manage the webhook with which Helius posts to the indexer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.text_argument import accepted_text
from zmart.cli.url_argument import http_url
from zmart.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zmart.chain.helius import HeliusClient, HeliusWebhook
    from zmart.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Manage the indexer's webhook at Helius.")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("register")
@one_sentence
def register_webhook(
    url: Annotated[
        str, typer.Option(help="address to post to (default: PUBLIC_API_URL; in a local stack the indexer)")
    ] = "",
    json: Json = False,
) -> None:
    """Register a webhook at Helius that posts the program's transactions, with HELIUS_WEBHOOK_SECRET as Authorization.

    May be repeated: a webhook that already posts to this address is updated, and enabled if Helius has disabled it.
    """
    from zmart.market.types import Address

    target = http_url("url", url)

    async def work(helius: HeliusClient, settings: Settings) -> None:
        done = await helius.register(
            target or _default_url(settings),
            [Address(settings.solana_program_id_core)],
            settings.require("helius_webhook_secret"),
            "rawDevnet" if settings.zmart_env == "devnet" else "raw",
        )
        word = "registered" if done.is_new else ("enabled again" if done.is_reactivated else "updated")
        _print([done.webhook], json, f"{word}: {_line(done.webhook)}")

    _with_helius(work)


@app.command("list")
@one_sentence
def list_webhooks(json: Json = False) -> None:
    """List the webhooks of this HELIUS_API_KEY.

    Helius disables a webhook (INACTIVE) whose endpoint fails too often; `zmart webhook register` enables it again.
    """

    async def work(helius: HeliusClient, _: Settings) -> None:
        webhooks = await helius.webhooks()
        _print(webhooks, json, "\n".join(map(_line, webhooks)) or "no webhooks")

    _with_helius(work)


@app.command()
@one_sentence
def delete(
    webhook_id: Annotated[str, typer.Argument(help="the webhook's id, from `zmart webhook list`")],
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
) -> None:
    """Delete a webhook at Helius. The indexer then finds transactions only by its scan, a few seconds later."""
    webhook_id = accepted_text("webhook_id", webhook_id)
    if not yes:
        typer.confirm(f"Delete webhook {webhook_id}?", abort=True)

    async def work(helius: HeliusClient, _: Settings) -> None:
        if not await helius.delete(webhook_id):
            typer.echo(f"There is no webhook {webhook_id}.", err=True)
            raise typer.Exit(1)
        typer.echo(f"deleted {webhook_id}")

    _with_helius(work)


def _default_url(settings: Settings) -> str:
    from zmart.chain.helius import WEBHOOK_PATH
    from zmart.errors import ConfigError

    if settings.public_api_url:
        return settings.public_api_url.rstrip("/") + WEBHOOK_PATH
    if settings.is_local:
        return f"http://127.0.0.1:{settings.indexer_port}{WEBHOOK_PATH}"
    raise ConfigError(
        "PUBLIC_API_URL is not set: set it to the address at which Helius reaches the gateway, or pass --url."
    )


def _line(webhook: HeliusWebhook) -> str:
    addresses = ", ".join((webhook.account_addresses or [])[:3])
    state = {True: "active", False: "INACTIVE", None: "unknown"}[webhook.active]
    kind = webhook.webhook_type or "unknown"
    return f"{webhook.webhook_id}  {state:<8}  {kind:<9}  {webhook.webhook_url}  {addresses}"


def _print(webhooks: list[HeliusWebhook], json: bool, text: str) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(webhooks).decode() if json else printable(text))


def _with_helius(work: Callable[[HeliusClient, Settings], Coroutine[Any, Any, None]]) -> None:
    from zmart.chain.helius import HeliusClient
    from zmart.local.addresses import stack_settings

    settings = stack_settings()

    async def run() -> None:
        async with HeliusClient.from_settings(settings) as helius:
            await work(helius, settings)

    asyncio.run(run())


def register(root: typer.Typer) -> None:
    """Add `zmart webhook` and its commands to the root command."""
    root.add_typer(app, name="webhook")
