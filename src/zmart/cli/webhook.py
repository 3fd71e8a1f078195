"""`zmart webhook register|list|delete`: have Helius post the program's transactions to the indexer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zmart.cli.errors import one_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from zmart.chain.helius import HeliusClient, HeliusWebhook
    from zmart.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Register the indexer's webhook with Helius.")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("register")
@one_sentence
def register_webhook(
    url: Annotated[
        str, typer.Option(help="where to post to; default: PUBLIC_API_URL, in a local stack the indexer")
    ] = "",
    json: Json = False,
) -> None:
    """Have transactions of the program posted, with HELIUS_WEBHOOK_SECRET as Authorization. May be repeated: a webhook
    that posts to this address is changed, and switched on where Helius has switched it off."""
    from zmart.market.types import Address

    async def work(helius: HeliusClient, settings: Settings) -> None:
        done = await helius.register(
            url or _default_url(settings),
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
    """List what is registered with this HELIUS_API_KEY. Helius switches a webhook off (INACTIVE) whose endpoint fails
    too often; `zmart webhook register` switches it on again."""

    async def work(helius: HeliusClient, _: Settings) -> None:
        webhooks = await helius.webhooks()
        _print(webhooks, json, "\n".join(map(_line, webhooks)) or "no webhooks")

    _with_helius(work)


@app.command()
@one_sentence
def delete(
    webhook_id: Annotated[str, typer.Argument(help="its id, as `list` shows it")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete one. The indexer then finds transactions by its scan alone, a few seconds later."""
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
        "PUBLIC_API_URL is not set: set it to the address under which Helius reaches the gateway, or give --url."
    )


def _line(webhook: HeliusWebhook) -> str:
    addresses = ", ".join((webhook.account_addresses or [])[:3])
    state = {True: "active", False: "INACTIVE", None: "unknown"}[webhook.active]
    kind = webhook.webhook_type or "unknown"
    return f"{webhook.webhook_id}  {state:<8}  {kind:<9}  {webhook.webhook_url}  {addresses}"


def _print(webhooks: list[HeliusWebhook], json: bool, text: str) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(webhooks).decode() if json else text)


def _with_helius(work: Callable[[HeliusClient, Settings], Coroutine[Any, Any, None]]) -> None:
    from zmart.chain.helius import HeliusClient
    from zmart.local.addresses import stack_settings

    settings = stack_settings()

    async def run() -> None:
        async with HeliusClient.from_settings(settings) as helius:
            await work(helius, settings)

    asyncio.run(run())


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="webhook")
