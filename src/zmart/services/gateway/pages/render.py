"""Templates and how numbers are written in them."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from zmart.market.types import PRICE_ONE
from zmart.services.gateway.texts import iso

_PRIVATE = {"Cache-Control": "no-cache"}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("zmart.services.gateway.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(sol=sol, cents=cents, short=short, day=day, iso=iso, count=count)
    return made


def page(template: str, *, status_code: int = 200, **values: object) -> Response[str]:
    """An HTML answer."""
    text = _environment().get_template(template).render(**values)
    return Response(text, status_code=status_code, media_type="text/html", headers=dict(_PRIVATE))


def sol(lamports: int) -> str:
    """1234.568 SOL"""
    return f"{lamports / 1e9:,.3f}"


def count(shares: int) -> str:
    return f"{shares / 1e9:,.2f}"


def cents(price_e9: int) -> str:
    """A price as the chance it stands for."""
    return f"{price_e9 * 100 / PRICE_ONE:.1f}"


def short(address: str | None) -> str:
    if not address:
        return "-"
    return address if len(address) <= 12 else f"{address[:4]}…{address[-4:]}"


def day(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%d %b %Y, %H:%M")


@lru_cache(maxsize=16)
def static_file(name: str) -> bytes | None:
    """A file of the pages; None when there is none of that name."""
    kinds = (".css", ".js", ".svg")
    if not name.endswith(kinds) or "/" in name or "\\" in name:
        return None
    found = resources.files("zmart.services.gateway.pages") / "static" / name
    return found.read_bytes() if found.is_file() else None
