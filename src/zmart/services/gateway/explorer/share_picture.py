"""Draw the picture of a market that other sites show beside a link to it: question, price or outcome, and price
chart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime

import msgspec
from PIL import Image, ImageDraw, ImageFont

from zmart.market.types import PRICE_ONE

WIDTH, HEIGHT = 1200, 630
"""The picture's size in pixels, as readers of OpenGraph expect it."""
_MARGIN = 60
CHART = (_MARGIN, 330, WIDTH - _MARGIN, HEIGHT - 80)
_GROUND, _INK, _QUIET, _GRID, _ACCENT = "#ffffff", "#1c2220", "#59635f", "#dedcd3", "#24695a"
_QUESTION_LINES = 3
_FONT_ENCODING = "cp1252"
"""The encoding whose characters Pillow's own font can draw."""
_NO_QUESTION = "A market on ZMART"


class MarketPicture(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a market's picture. `headline`: price or outcome; `note`: the line below the chart; `points`:
    (time, YES price in 1e-9)."""

    question: str
    headline: str
    note: str
    points: Sequence[tuple[datetime, int]]


def draw(market: MarketPicture) -> bytes:
    """Return a market's picture as PNG. A question with characters that the font lacks is replaced by "A market on
    ZMART"."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _GROUND)
    pen = ImageDraw.Draw(image)
    top = _MARGIN - 10
    for line in _wrapped(pen, _written(market.question), _font(46)):
        pen.text((_MARGIN, top), line, _INK, _font(46))
        top += 58
    pen.text((_MARGIN, 240), market.headline, _ACCENT, _font(60))
    _draw_line(pen, market.points)
    pen.text((_MARGIN, HEIGHT - 60), market.note, _QUIET, _font(26))
    pen.text((WIDTH - _MARGIN, HEIGHT - 60), "ZMART", _ACCENT, _font(26), anchor="ra")
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _written(question: str) -> str:
    try:
        question.encode(_FONT_ENCODING)
    except UnicodeEncodeError:
        return _NO_QUESTION
    return question or _NO_QUESTION


def _wrapped(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and pen.textlength(longer, font) > WIDTH - 2 * _MARGIN:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    if len(lines) > _QUESTION_LINES:
        lines = [*lines[: _QUESTION_LINES - 1], f"{lines[_QUESTION_LINES - 1]} …"]
    return lines


def _draw_line(pen: ImageDraw.ImageDraw, points: Sequence[tuple[datetime, int]]) -> None:
    left, top, right, bottom = CHART
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        pen.line((left, y, right, y), _GRID, 2)
    if not points:
        return
    first, last = points[0][0].timestamp(), points[-1][0].timestamp()
    span = max(last - first, 1.0)
    path: list[tuple[float, float]] = []
    for moment, price in points:
        x = left + (moment.timestamp() - first) / span * (right - left)
        y = bottom - price / PRICE_ONE * (bottom - top)
        path += [(x, path[-1][1] if path else y), (x, y)]
    pen.line([*path, (right, path[-1][1])], _ACCENT, 5)
