"""The preview picture that other sites show beside a link to a market."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from zmart.services.gateway.explorer import share_picture
from zmart.services.gateway.explorer.share_picture import MarketPicture

_START = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(question: str, *prices: int) -> Image.Image:
    points = tuple((_START + timedelta(hours=hour), price) for hour, price in enumerate(prices))
    shown = MarketPicture(question=question, headline="61.2% YES", note="12.000 SOL traded", points=points)
    return Image.open(io.BytesIO(share_picture.draw(shown)), formats=["PNG"])


def colours_at(image: Image.Image, x: int) -> set[object]:
    _, top, _, bottom = share_picture.CHART
    return {image.getpixel((x, y)) for y in range(top, bottom)}


def test_the_line_of_the_price_is_where_the_price_was() -> None:
    image = drawn("Will it rain?", 900_000_000, 100_000_000)
    assert image.size == (1200, 630)
    line = (0x24, 0x69, 0x5A)
    left, top, right, bottom = share_picture.CHART
    high, low = (round(bottom - price * (bottom - top)) for price in (0.9, 0.1))
    assert image.getpixel((left + 100, high)) == line
    assert image.getpixel((left + 100, low)) != line
    assert image.getpixel((right - 2, low)) == line


def test_a_market_that_was_never_traded_has_a_picture_without_a_line() -> None:
    assert (0x24, 0x69, 0x5A) not in colours_at(drawn("Will it rain?"), 600)


@pytest.mark.parametrize(
    "question", ["", "明日は雨？", "x" * 200, "word " * 40, "Œuvre – “quoted” €?"], ids=range(5)
)
def test_any_question_has_a_picture(question: str) -> None:
    assert drawn(question, 500_000_000).size == (1200, 630)
