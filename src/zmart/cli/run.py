"""`zmart run <service>`: one service in the foreground, as a supervisor or a container wants it."""

from __future__ import annotations

import gc
from enum import StrEnum
from typing import Annotated

import typer

from zmart.cli.errors import one_sentence


class Name(StrEnum):
    """What can be run."""

    indexer = "indexer"
    aggregator = "aggregator"
    monitor = "monitor"
    gateway = "gateway"
    websocket = "websocket"
    snapshots = "snapshots"
    providers = "providers"


@one_sentence
def run(
    service: Annotated[
        Name, typer.Argument(help="which service; providers: local stand-ins for Pinata, Helius")
    ],
    once: Annotated[
        bool, typer.Option("--once", help="aggregator, monitor: decide what is due now, then end")
    ] = False,
) -> None:
    """Run one service in the foreground until SIGTERM or Ctrl-C."""
    gc.disable()  # what imports make is not garbage: a fifth of the start; the host turns it on again
    from zmart.settings import settings

    if once:
        _once(service)
        return

    if service is Name.providers:
        from zmart.local.extra import require_extra
        from zmart.local.providers import run as run_providers

        require_extra()
        gc.enable()
        run_providers(settings())
        return
    from zmart.ops.host import run as run_service

    run_service(service.value, settings())


def _once(service: Name) -> None:
    from zmart.cli import decisions
    from zmart.errors import ConfigError

    if service is Name.aggregator:
        decisions.aggregate(None, False)
    elif service is Name.monitor:
        decisions.finalize(None, False)
    else:
        raise ConfigError(f"--once is for the aggregator and the monitor; the {service.value} has no rounds.")


def register(app: typer.Typer) -> None:
    app.command()(run)
