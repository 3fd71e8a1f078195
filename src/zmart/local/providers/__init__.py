"""Stand in for the external providers of the local stack: Pinata (pins, an IPFS gateway) and Helius (webhooks).

One small process on LOCAL_PROVIDERS_PORT: `zmart run providers`. Each half documents in its own package which
behaviour it models. Its CIDs are the real ones, but they cannot be fetched elsewhere: nothing here reaches the public
IPFS network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.settings import Settings


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError if the port is in use."""
    from zmart.local.providers.process import run as run_process

    run_process(settings)
