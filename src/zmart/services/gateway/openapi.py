"""The published description of the API, generated from the handlers."""

from __future__ import annotations

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

import zmart

DESCRIPTION = """\
Markets of the ZMART program on Solana: read them, and build the transactions that your wallet signs.

Lamports and shares are integers in units of 1e-9; `?numeric=string` sends each as text. Chain-derived answers carry
`ETag` and `X-As-Of-Slot`, the slot through which the index is complete. Every error has the shape of `Problem`."""

OPENAPI = OpenAPIConfig(
    title="ZMART gateway",
    version=getattr(zmart, "__version__", "0.1.0"),
    description=DESCRIPTION,
    path="/api/schema",
    render_plugins=[],
    components=Components(
        security_schemes={
            "session": SecurityScheme(
                type="http", scheme="bearer", description="a token of POST /api/auth/verify"
            ),
            "operator": SecurityScheme(type="http", scheme="bearer", description="OPERATOR_TOKEN"),
        }
    ),
)
