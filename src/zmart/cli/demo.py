"""Implement `zmart demo`: play markets from creation to payout against a running stack, and check all amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import needs_local_stack
from zmart.cli.url_argument import base_url

if TYPE_CHECKING:
    from zmart.local.demo.world import ServiceUrls


@needs_local_stack
def demo(
    json: Annotated[
        bool, typer.Option("--json", help="print one JSON object instead of the results")
    ] = False,
    traffic: Annotated[
        bool, typer.Option("--traffic", help="only trade lightly in one open market, until Ctrl-C")
    ] = False,
    snapshots_url: Annotated[
        str,
        typer.Option(
            help="play against PUBLIC_API_URL and PUBLIC_WS_URL, on a local chain; their snapshots service"
        ),
    ] = "",
) -> None:
    """Play three markets from creation to payout against the running local stack (starts one if none runs).

    Twelve wallets vote, trade, discuss and dispute over HTTP and WebSocket; the chain's clock is advanced by days,
    and the services must react by themselves. Ends with a line for each market, or a table of all steps in a terminal
    of 110 columns and more, and a check of all amounts; exit status 1 if anything failed.
    """
    from zmart.errors import ConfigError
    from zmart.local.demo.world import ServiceUrls
    from zmart.local.held_decisions import HELD, is_held
    from zmart.local.startup import running_stack
    from zmart.settings import settings

    snapshots_url = base_url("snapshots-url", snapshots_url) or ""
    if snapshots_url:
        where = ServiceUrls.of_deployment(settings(), snapshots_url)
        raise typer.Exit(0 if perform(json=json, where=where) else 1)
    if is_held(settings().zmart_home) and not traffic:
        raise ConfigError(f"The demo needs decisions. {HELD}")
    with running_stack(settings(), lambda sentence: typer.echo(sentence, err=json)):
        if traffic:
            _keep_trading()
        raise typer.Exit(0 if traffic or perform(json=json) else 1)


def _keep_trading() -> None:
    import asyncio
    import contextlib

    from zmart.local.addresses import stack_settings
    from zmart.local.demo.traffic import light_traffic

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(light_traffic(stack_settings()))


def perform(*, json: bool = False, where: ServiceUrls | None = None) -> bool:
    """Play the demo against the services at `where`, by default the running stack's, and print its report.

    Returns True if every step and every check succeeded.
    """
    import asyncio

    import msgspec
    from rich.console import Console

    from zmart.local.addresses import stack_settings
    from zmart.local.demo.play import play
    from zmart.local.demo.table import live_line, show

    console = Console(stderr=json)
    with console.status("…") as status:
        report = asyncio.run(
            play(
                stack_settings(),
                where,
                on_start=lambda market, step: status.update(f"{market}: {step} …"),
                on_step=lambda result: console.print(live_line(result, console.width), soft_wrap=True),
            )
        )
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        show(report, console)
    return report.ok


def register(app: typer.Typer) -> None:
    """Add `zmart demo` to the root command."""
    app.command()(demo)
