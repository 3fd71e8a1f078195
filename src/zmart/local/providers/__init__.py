"""The outside providers of the local stack, played on this machine: Pinata (pins, an IPFS gateway) and Helius
(webhooks). One small process on PROVIDERS_PORT; `zmart run providers`.

Each half says in its own package which documented behaviour it models. Its CIDs are the real ones, but nobody else
can fetch them: nothing here reaches the public IPFS network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zmart.settings import Settings


def run(settings: Settings) -> None:
    """Blocks until SIGTERM or SIGINT. Raises ConfigError when the port is taken."""
    from zmart.local.providers.process import run as run_process

    run_process(settings)
