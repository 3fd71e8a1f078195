"""Implement `zmart backup`, `zmart backup verify` and `zmart restore`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.url_argument import database_url as database_url_of
from zmart.errors import ZmartError

if TYPE_CHECKING:
    from zmart.ops.backup.files import BackupManifest
    from zmart.ops.backup.restoring import RestoreReport

app = typer.Typer(help="Back up the database, and check backups.")
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Backup = Annotated[Path | None, typer.Argument(help="a backup's folder (default: the newest of this stack)")]

_STOPPED = (
    "The services of this stack are stopped: run the same command again, or start them with `zmart up`."
)
_NEXT = """
Next:
  1. Start the services, the aggregator and the monitor with HOLD_DECISIONS=true: votes accepted after the backup are
     missing, and decisions would be made without them.{start}
  2. Once the indexer is ready: `zmart indexer audit`, `zmart indexer rebuild`. It reads by itself what happened since.
  3. `zmart verify tally <market>` shows for which markets votes are missing that a tally on chain had counted.
  4. Start the aggregator and the monitor without HOLD_DECISIONS once you accept that.{release}"""
_START = """
     The stack of this ZMART_HOME is held from now on: `zmart stop`, then `zmart up` (`zmart restart` and
     `zmart rollback` hold, too), without that setting."""
_RELEASE = "\n     The stack of this ZMART_HOME: `zmart stop`, then `zmart up --release-decisions`."


@app.callback(invoke_without_command=True)
@one_sentence
def backup(
    context: typer.Context,
    to: Annotated[
        Path | None, typer.Option(help="folder of the backups (default: ZMART_HOME/backups)")
    ] = None,
    json: Json = False,
) -> None:
    """Write a backup of the database: a dump with a manifest, both of the same snapshot. Services may run meanwhile."""
    if context.invoked_subcommand is not None:
        return
    from zmart.local.addresses import database_url
    from zmart.local.stack_locks import working
    from zmart.ops.backup import dumping, files

    with working(_home(), alone=False):
        path = asyncio.run(dumping.back_up(database_url(), to or _folder(), bundled_programs()))
    _show(path, files.read_manifest(path), "Backed up", json)


@app.command()
@one_sentence
def verify(
    backup: Backup = None,
    into: Annotated[
        str,
        typer.Option(help="address of an empty database to restore into (default: one is made and dropped)"),
    ] = "",
    json: Json = False,
) -> None:
    """Restore a backup into another, empty database, and compare every table with the manifest."""
    from zmart.local.addresses import database_url
    from zmart.ops.backup import dumping, files

    into = database_url_of("into", into) or ""
    path = backup or files.newest(_folder())
    manifest = asyncio.run(dumping.verify(into or database_url(), path, bundled_programs(), into))
    _show(path, manifest, "Restored and compared", json)


@one_sentence
def restore(
    backup: Backup = None,
    yes: Annotated[bool, typer.Option("--yes", help="skip confirmation")] = False,
    without_backup: Annotated[
        bool, typer.Option("--without-backup", help="do not back up what is there before")
    ] = False,
    json: Json = False,
) -> None:
    """Replace the content of the database with a backup.

    The services of a local stack are stopped first; other services must be stopped before. The stack holds its
    decisions from then on, until `zmart up --release-decisions`.
    """
    from zmart.local.addresses import database_url
    from zmart.local.held_decisions import HELD, is_held
    from zmart.local.stack_locks import working
    from zmart.ops.backup import files, restoring

    path = backup or files.newest(_folder())
    manifest = files.read_manifest(path)
    if not yes:
        typer.confirm(
            f"This replaces the database by the backup of {manifest.made_at:%Y-%m-%d %H:%M} UTC. Continue?",
            abort=True,
        )
    url, home = database_url(), _home()
    is_stack, holds = False, _may_hold(home, url)

    def say(sentence: str) -> None:
        typer.echo(sentence, err=json)

    def stop_services() -> None:
        nonlocal is_stack
        is_stack = _stop_services_on(url)

    # A folder of its own: the same command, run again after it was killed, must not restore what was there before.
    keep_in = None if without_backup else _folder() / "replaced"
    try:
        with working(home, alone=True):
            report = restoring.restore(
                url,
                path,
                keep_in,
                bundled_programs(),
                say,
                stop_services,
                lambda: _hold(home, say) if holds else None,
            )
    except ZmartError:
        if is_stack:
            typer.echo(_STOPPED, err=True)
        if holds and is_held(home):
            typer.echo(HELD, err=True)
        raise
    _show(path, manifest, "Restored", json, report)
    if not json:
        typer.echo(_NEXT.format(start=_START if holds else "", release=_RELEASE if holds else ""))


def _show(
    path: Path, manifest: BackupManifest, done: str, json: bool, report: RestoreReport | None = None
) -> None:
    import msgspec

    if json:
        typer.echo(
            msgspec.json.encode({"backup": str(path), "manifest": manifest, "restored": report}, enc_hook=str)
        )
        return
    state = manifest.state
    typer.echo(f"{done}: {path}")
    typer.echo(
        f"  {state.rows:,} rows in {len(state.tables)} tables, {manifest.dump_bytes:,} bytes, schema {state.revision}"
    )
    typer.echo(
        f"  index complete through slot {_known(state.gap_free_slot)} of program {_known(state.program_id)}"
    )
    typer.echo(f"  feed at offset {state.feed_offset} of epoch {state.feed_epoch}")
    if report is not None:
        typer.echo(f"  schema now {report.schema.current}; the feed's new epoch is {report.feed_epoch}")
        typer.echo(f"  what was there before: {report.replaced or 'nothing, or not kept'}")


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)


def _home() -> Path:
    from zmart.local.processes import require_readable
    from zmart.settings import settings

    return require_readable(settings().zmart_home.resolve())


def _folder() -> Path:
    return _home() / "backups"


def _may_hold(home: Path, database_url: str) -> bool:
    """Return whether a stack of `home` may work in the database, which then holds its decisions after a restore.

    Without the extra `local` no stack can run, and nothing but HOLD_DECISIONS would release a process.
    """
    from zmart.local.extra import is_installed
    from zmart.local.held_decisions import concerns

    return is_installed() and concerns(home, database_url)


def _hold(home: Path, say: Callable[[str], None]) -> None:
    from zmart.local.held_decisions import hold

    say("Holding the decisions of this stack from now on ...")
    hold(home)


def bundled_programs() -> list[Path]:
    """Return a list with the folder of the local stack's PostgreSQL programs; empty if there is none."""
    from zmart.errors import ConfigError
    from zmart.local.postgres import find_bin_dir
    from zmart.settings import settings

    try:
        return [find_bin_dir(settings().local_postgres_bin_dir)]
    except ConfigError:
        return []


def _stop_services_on(database_url: str) -> bool:
    """Stop the services of the local stack, and return True, if it runs and `database_url` may be its own database."""
    from zmart.local.extra import is_installed

    if not is_installed():
        return False
    from zmart.local.held_decisions import concerns
    from zmart.local.stack import SERVICE_GROUP, read_record, supervisor_of
    from zmart.services.contract import SERVICES
    from zmart.settings import settings

    home = settings().zmart_home.resolve()
    record, supervisor = read_record(home), supervisor_of(home)
    is_embedded = record is not None and "DATABASE_URL" in record.environment and concerns(home, database_url)
    if not is_embedded or not supervisor.answers():
        return False
    supervisor.stop(*(f"{SERVICE_GROUP}:{name}" for name in SERVICES))
    return True


def register(root: typer.Typer) -> None:
    """Add `zmart backup` and `zmart restore` to the root command."""
    root.add_typer(app, name="backup")
    root.command()(restore)
