"""Pages that are put together from encoded rows are, to the byte, the JSON of the shapes that the API publishes."""

from __future__ import annotations

import msgspec
import pytest

from zmart.client.shapes.markets import Markets
from zmart.client.shapes.tape import Candles, MarketTrades
from zmart.services.gateway.api.candles import CandlesPage
from zmart.services.gateway.api.fragment_cache import MarketsPage, TradesPage

ROWS = b'[{"id":"a"},{"id":"b"}]'


@pytest.mark.parametrize(
    ("page", "shape"), [(MarketsPage, Markets), (TradesPage, MarketTrades), (CandlesPage, Candles)]
)
def test_a_page_has_the_fields_of_its_shape_in_their_order(
    page: type[msgspec.Struct], shape: type[msgspec.Struct]
) -> None:
    assert page.__struct_encode_fields__ == shape.__struct_encode_fields__
    assert page.__struct_defaults__ == shape.__struct_defaults__
    assert page.__struct_config__.omit_defaults == shape.__struct_config__.omit_defaults


def test_rows_stand_in_a_page_as_they_were_encoded() -> None:
    rows = msgspec.json.decode(ROWS, type=list[msgspec.Raw])
    made = MarketsPage(markets=rows, count=2, offset=0, limit=20).encoded().json
    assert made == b'{"markets":' + ROWS + b',"count":2,"offset":0,"limit":20,"next_cursor":null}'
