"""Implement `zmart run <service>`: one service in the foreground, for a supervisor or a container."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import exit_status, one_sentence
from zmart.cli.hold_decisions import HoldDecisions, hold
from zmart.errors import ZmartError
from zmart.hidden_packages import hidden

if TYPE_CHECKING:
    from zmart.settings import Settings


class ServiceName(StrEnum):
    """The processes that `zmart run` runs: the six services, and two servers of the local stack."""

    indexer = "indexer"
    aggregator = "aggregator"
    monitor = "monitor"
    gateway = "gateway"
    websocket = "websocket"
    snapshots = "snapshots"
    providers = "providers"
    chain = "chain"


@one_sentence
def run(
    service: Annotated[
        ServiceName,
        typer.Argument(
            help="the service; of the local stack: chain, and providers (stand-ins for Pinata and Helius)"
        ),
    ],
    once: Annotated[
        bool, typer.Option("--once", help="aggregator, monitor: process what is due, then exit")
    ] = False,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, max=64, help="gateway, websocket: processes that share the port"),
    ] = 1,
    hold_decisions: HoldDecisions = False,
) -> None:
    """Run one service in the foreground until SIGTERM or Ctrl-C."""
    gc.disable()  # saves a fifth of the start: imports make no garbage. The host enables it again.
    with hidden("rich"):  # otherwise httpx also imports its command line, which takes 45 ms
        import httpx  # noqa: F401  # every service uses it
    from zmart.local.held_decisions import is_held_here
    from zmart.settings import settings

    hold(hold_decisions or is_held_here())

    if once:
        _once(service)
        return

    if service in (ServiceName.providers, ServiceName.chain):
        gc.enable()
        _local(service)
        return
    if workers > 1:
        from zmart.ops.worker_parent import run_workers

        gc.enable()
        raise typer.Exit(run_workers(service.value, workers, settings()))
    from zmart.ops.host import run as run_service

    _run(lambda given: run_service(service.value, given), settings())


def _run(start: Callable[[Settings], None], settings: Settings) -> None:
    """Run a service, whose log reports the error that ended it.

    If standard error is the same file as the log, the error is not printed again: it would stand between JSON lines.
    """
    from zmart.ops import logs

    try:
        start(settings)
    except ZmartError as problem:
        if logs.shares_file_with(sys.stderr):
            raise typer.Exit(exit_status(problem)) from None
        raise


def _local(service: ServiceName) -> None:
    from zmart.local.extra import require_extra
    from zmart.settings import settings

    require_extra()
    if service is ServiceName.chain:
        from zmart.local.chain.process import run as run_chain

        run_chain(settings())
        return
    from zmart.local.providers import run as run_providers

    _run(run_providers, settings())


def _once(service: ServiceName) -> None:
    from zmart.cli import decisions
    from zmart.errors import ConfigError

    if service is ServiceName.aggregator:
        decisions.aggregate()
    elif service is ServiceName.monitor:
        decisions.finalize()
    else:
        raise ConfigError(f"--once is for the aggregator and the monitor; the {service.value} has no ticks.")


def register(app: typer.Typer) -> None:
    """Add `zmart run` to the root command."""
    app.command()(run)
