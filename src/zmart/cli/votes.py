"""Implement `zmart votes list-sign`, which signs lists of wallets for the rule `listed`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zmart.cli.errors import one_sentence
from zmart.cli.output_file import write_file

app = typer.Typer(no_args_is_help=True, help="Manage lists of wallets that may vote (the rule listed:CID).")


class ListSigner(StrEnum):
    """The keys of GlobalConfig that may sign a list of wallets."""

    backend = "backend"
    admin = "admin"


@app.command("list-sign")
@one_sentence
def list_sign(
    wallets: Annotated[Path, typer.Argument(help="text file with one wallet address per line")],
    file: Annotated[Path, typer.Argument(help="where to save the signed list")],
    signer: Annotated[
        ListSigner, typer.Option(help="sign with BACKEND_KEYPAIR_PATH or with ADMIN_KEYPAIR_PATH")
    ] = ListSigner.backend,
    pin: Annotated[
        bool, typer.Option("--pin", help="also pin it to IPFS, with PINATA_JWT or its keys")
    ] = False,
) -> None:
    """Sign a list of wallets and print its CID, for VOTE_RULE_DISPUTES=listed:CID or VOTE_RULE_PROPOSALS=listed:CID."""
    from zmart.bounded_files import read_at_most
    from zmart.chain import wallet
    from zmart.chain.program import Program
    from zmart.errors import ConfigError, Invalid
    from zmart.ipfs.pinata import PinataClient
    from zmart.local.addresses import stack_settings
    from zmart.proofs.voter_list import MAX_BYTES, sign_list

    settings = stack_settings()
    keypair = (
        wallet.backend_keypair(settings) if signer is ListSigner.backend else wallet.admin_keypair(settings)
    )
    if keypair is None:
        raise ConfigError("ADMIN_KEYPAIR_PATH is not set: set it, or sign with --signer backend.")
    try:
        lines = read_at_most(wallets, MAX_BYTES).decode("ascii").split()
    except (OSError, UnicodeDecodeError) as problem:
        raise Invalid("wallets", f"{wallets} cannot be read as text: {problem}.") from None
    signed = sign_list(Program.from_settings(settings).address, lines, keypair)
    write_file(file, signed.encode())
    if pin:

        async def upload() -> None:
            async with PinataClient.from_settings(settings) as pins:
                await pins.pin(signed.encode(), file.name)

        asyncio.run(upload())
    typer.echo(f"{signed.cid}  {len(signed.wallets)} wallets, signed by {signed.signer}")


def register(root: typer.Typer) -> None:
    """Add `zmart votes` and its command to the root command."""
    root.add_typer(app, name="votes")
