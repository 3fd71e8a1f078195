"""Implement `zmart openapi`: print the OpenAPI document of the HTTP API without a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.errors import ConfigError


@one_sentence
def openapi(
    page: Annotated[
        Path | None, typer.Option(help="update the list of calls in this Markdown page instead")
    ] = None,
) -> None:
    """Print the OpenAPI 3.1 document of the HTTP API."""
    import msgspec

    from zmart.services.gateway.openapi import markdown, offline

    schema = offline.document()
    if page is None:
        typer.echo(msgspec.json.format(msgspec.json.encode(schema)).decode())
        return
    if not page.is_file():
        raise ConfigError(f"There is no page {page}: --page takes a file like docs/api.md.")
    try:
        text = page.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{page} is not UTF-8.") from None
    page.write_text(markdown.with_calls(text, schema), encoding="utf-8")
    typer.echo(f"The list of calls in {page} is that of this version.")


def register(app: typer.Typer) -> None:
    """Add `zmart openapi` to the root command."""
    app.command()(openapi)
