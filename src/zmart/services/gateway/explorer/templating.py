"""Render templates, with the filters and globals of every page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response

from zmart.market.times import iso
from zmart.services.gateway.explorer import assets, numbers

_PRIVATE = {"Cache-Control": "no-cache"}


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("zmart.services.gateway.explorer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        sol=numbers.sol,
        gain=numbers.gain,
        shares=numbers.shares,
        precise=numbers.precise,
        cents=numbers.cents,
        percent=numbers.percent,
        points=numbers.points,
        short=numbers.short,
        duration=numbers.duration,
        kilobytes=numbers.kilobytes,
        day=day,
        iso=iso,
    )
    made.globals.update(asset=assets.address, site=None, searched=None)
    return made


def html(template: str, context: Mapping[str, object] | None = None, **values: object) -> str:
    """Render a template with `context` and `values`, and return its HTML. With the value `site` (site_values.py) the
    page offers a wallet, without it none."""
    return _environment().get_template(template).render(**(context or {}), **values)


def page(
    template: str, context: Mapping[str, object] | None = None, *, status_code: int = 200, **values: object
) -> Response[str]:
    """Render a template as `html` does, and return the response with the page."""
    return answer(html(template, context, **values), status_code=status_code)


def answer(text: str, *, status_code: int = 200) -> Response[str]:
    """Return a response with the HTML of a page. Browsers revalidate it at each use."""
    return Response(text, status_code=status_code, media_type="text/html", headers=dict(_PRIVATE))


def day(moment: datetime | None) -> str:
    """Format a time, which is given in UTC, as "15 Jan 2026, 12:00"; "-" for None. Every page states the time zone."""
    return "-" if moment is None else moment.strftime("%d %b %Y, %H:%M")
