"""Pages that are built from encoded rows equal, byte for byte, the JSON of the structs that the API publishes."""

from __future__ import annotations

import msgspec
import pytest

from zmart.client.shapes.markets import Markets
from zmart.client.shapes.tape import Candles, MarketTrades
from zmart.services.gateway.http.responses import encoded_around

ROWS = b'[{"id":"a"},{"id":"b"}]'


def test_rows_stand_in_a_page_as_they_were_encoded() -> None:
    rows = msgspec.json.decode(ROWS, type=list[msgspec.Raw])
    made = encoded_around(Markets, markets=rows, count=2, offset=0, limit=20).json
    assert made == b'{"markets":' + ROWS + b',"count":2,"offset":0,"limit":20,"next_cursor":null}'
    made = encoded_around(MarketTrades, trades=rows, count=2, market_id="ab").json
    assert made == b'{"trades":' + ROWS + b',"count":2,"market_id":"ab","next_cursor":null}'


def test_a_list_stands_in_a_page_as_it_was_encoded() -> None:
    fields = {"market_id": "ab", "interval": "1h", "start": "s", "end": "e", "count": 2}
    made = encoded_around(Candles, candles=msgspec.Raw(ROWS), **fields).json
    assert made == (
        b'{"market_id":"ab","interval":"1h","start":"s","end":"e","candles":' + ROWS + b',"count":2}'
    )


@pytest.mark.parametrize("fields", [{"count": 2}, {"count": 2, "offset": 0, "limit": 20, "total": 2}])
def test_a_page_has_neither_more_nor_fewer_fields_than_its_shape(fields: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        encoded_around(Markets, markets=[], **fields)
