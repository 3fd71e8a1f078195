"""Stand in for the external providers of the local stack: Pinata (pins, an IPFS gateway) and Helius (webhooks).

`zmart run providers` serves both in one process on LOCAL_PROVIDERS_PORT. The packages `pinata` and `helius` document
which behaviour they model. The CIDs of pinned files are those that IPFS would compute, but no other gateway has these
files: the process has no connection to the public IPFS network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.settings import Settings


def run(settings: Settings) -> None:
    """Run the stand-ins until SIGTERM or SIGINT. Raises ConfigError if LOCAL_PROVIDERS_PORT is in use."""
    from zmart.local.providers.process import run as run_process

    run_process(settings)
