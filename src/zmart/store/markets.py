"""Read markets, joined with their documents: one, several by id, or a page of a list.

Statements are assembled from the constants of this module; values are only ever parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import assert_never

import msgspec

from zmart.errors import Invalid
from zmart.market.columns import MarketColumns
from zmart.market.identifiers import MarketRef
from zmart.market.times import iso_micro, parse_iso
from zmart.market.types import Lamports, MarketId
from zmart.store.documents import OF_MARKET
from zmart.store.pool import Pool, Record
from zmart.store.tables import MARKETS

DAY = "interval '24 hours'"
LATEST_CHAIN_TIME = """(SELECT greatest(
    now(), (SELECT max(traded_at) FROM trades), (SELECT to_timestamp(final_time) FROM index_progress WHERE id = 1)))"""
"""SQL expression for the time by which the chain's times are judged. It is now, or the time of the newest trade or of
the chain's newest final Clock if that is later because the chain's clock is ahead of the database's."""

UNCATEGORIZED = "other"
"""The category of markets whose text names no category or was not found."""

TRADED_RECENTLY = f"""
(SELECT market_id, sum(cost) AS volume, count(*) AS wallets FROM
    (SELECT market_id, wallet, sum(cost_lamports) AS cost FROM trades
     WHERE traded_at > {LATEST_CHAIN_TIME} - {DAY} GROUP BY market_id, wallet) w GROUP BY market_id)
"""
"""SQL subquery of the markets with trades in the last 24 hours. Its columns are `market_id`, `volume` in lamports,
and `wallets`, the number of wallets that traded."""

_COLUMNS = f"""
{MARKETS.row_list("m")},
coalesce(d.question, '') AS question, coalesce(d.description, '') AS description,
coalesce(d.category, '{UNCATEGORIZED}') AS category, coalesce(d.tags, '{{}}') AS tags, d.ends_at,
CASE WHEN d.cid IS NULL THEN 'not_available' WHEN d.problem IS NULL THEN 'available' ELSE 'not_a_market_document' END
    AS text_status
"""
_JOIN = f" LEFT JOIN market_documents d ON {OF_MARKET}"
_FROM = f" FROM markets m{_JOIN}"
_SELECT = f"SELECT {_COLUMNS}{_FROM}"
_COUNT = "SELECT count(*) FROM markets m"
_ONE = f"{_SELECT} WHERE m.market_id = $1"
_ONE_BY_ADDRESS = f"{_SELECT} WHERE m.address = $1"
_SEVERAL = f"{_SELECT} WHERE m.market_id = ANY($1)"
# xmin is the transaction that wrote a version of a row. It identifies the version, and is cheaper to read than the row.
_ROWS = "(SELECT xmin AS xid, * FROM markets) m"
_MARKET_LIST_OFFSET = "(SELECT market_list_offset FROM feed_head)"
_VERSION = "m.market_id, m.xid, d.xmin"
_SEVERAL_WITH_VERSIONS = f"SELECT m.xmin, d.xmin, {_COLUMNS}{_FROM} WHERE m.market_id = ANY($1)"
_ID_OF_ADDRESS = "SELECT market_id FROM markets WHERE address = $1"
_EXISTS = "SELECT market_id FROM markets WHERE market_id = $1"


class MarketRow(MarketColumns[str, bool, datetime], frozen=True, kw_only=True):
    """An indexed market with the text of the document that its CID names. `text_status` is available, not_available
    (not found yet) or not_a_market_document. `question` is empty unless the text is available."""

    question: str
    description: str
    category: str
    tags: Sequence[str]
    ends_at: datetime | None
    text_status: str


class MarketVersion(msgspec.Struct, frozen=True):
    """Identify one version of a market's row and of its document. The version is that of the PostgreSQL transactions
    that wrote them (xmin); equal versions mean equal rows. `document_xid` is None for a market without a document."""

    market_id: MarketId
    market_xid: int
    document_xid: int | None


class ListEntry(msgspec.Struct, frozen=True):
    """An entry of a list of markets: the version of the market, and the value that the list is sorted by.
    `market_list_offset`: the feed's offset of the last commit that added or removed a market or changed a market's
    state."""

    version: MarketVersion
    value: datetime | int | None
    market_list_offset: int


class Sort(Enum):
    """Orders of a list of markets."""

    NEWEST = "newest"
    VOLUME = "volume"
    ENDING = "ending"
    TRENDING = "trending"


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a list of markets; a field that is None does not filter. `q`: full-text search in the syntax of web
    search engines (websearch_to_tsquery). `pool_above`: markets whose pool holds more."""

    state: str | None = None
    category: str | None = None
    creator: str | None = None
    q: str | None = None
    pool_above: Lamports | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a list to return: up to `limit` markets from `offset` on. With `after` = (value of the sort key,
    market id), the list begins after the market with this key."""

    limit: int
    offset: int = 0
    after: tuple[int | str, str] | None = None


async def one(pool: Pool, ref: MarketRef) -> MarketRow | None:
    """Return a market's row; None if it is not indexed."""
    row = await pool.fetchrow(_ONE if ref.id else _ONE_BY_ADDRESS, str(ref))
    return None if row is None else MarketRow(**row)


async def id_of(pool: Pool, ref: MarketRef) -> MarketId | None:
    """Return a market's id; None if the market is not indexed."""
    market_id: MarketId | None = await pool.fetchval(_EXISTS if ref.id else _ID_OF_ADDRESS, str(ref))
    return market_id


async def several(pool: Pool, market_ids: Sequence[MarketId]) -> dict[MarketId, MarketRow]:
    """Return the rows of the markets among `market_ids` that are indexed, by id."""
    rows = await pool.fetch(_SEVERAL, list(market_ids))
    return {row["market_id"]: MarketRow(**row) for row in rows}


async def with_versions(pool: Pool, market_ids: Sequence[MarketId]) -> list[tuple[MarketVersion, MarketRow]]:
    """Return the rows of the markets among `market_ids` that are indexed, each with the version of the row."""
    rows = await pool.fetch(_SEVERAL_WITH_VERSIONS, list(market_ids))
    markets = []
    for row in rows:
        market_xid, document_xid, *values = row
        market = MarketRow(**dict(zip(MarketRow.__struct_fields__, values, strict=True)))
        markets.append((MarketVersion(market.market_id, market_xid, document_xid), market))
    return markets


async def latest_chain_time(pool: Pool) -> datetime:
    """Return the chain's present time as far as the index knows it, at least the database's own time."""
    time: datetime = await pool.fetchval(f"SELECT {LATEST_CHAIN_TIME}")
    return time


async def count(pool: Pool, filters: Filters, sort: Sort = Sort.NEWEST) -> int:
    """Return how many markets match the filters. Sort.ENDING counts only markets that such a list contains."""
    arguments: list[object] = []
    where = [*_where(filters, arguments), *_implied(sort)]
    sql = _COUNT + (_JOIN if _needs_documents(filters, sort) else "") + _clause(where)
    number: int = await pool.fetchval(sql, *arguments)
    return number


async def page(pool: Pool, filters: Filters, sort: Sort, at: Page) -> list[MarketRow]:
    """Return one page of a list of markets. Raises Invalid("cursor") for a wrong sort key in `at.after`. To learn if
    another page follows, callers request one row more than they need."""
    sql, arguments = _listed(f"SELECT {_COLUMNS}", filters, sort, at)
    return _rows(await pool.fetch(sql, *arguments))


async def entries(pool: Pool, filters: Filters, sort: Sort, at: Page) -> list[ListEntry]:
    """Return the page that `page` returns, as versions of rows instead of rows, for a caller that has cached rows.
    Raises as `page`."""
    if sort is Sort.TRENDING or _needs_documents(filters, sort):
        sql, arguments = _listed(
            f"SELECT {_VERSION}, {_order(sort)[0]}, {_MARKET_LIST_OFFSET}", filters, sort, at
        )
    else:
        sql, arguments = _narrow(filters, sort, at)
    return [
        ListEntry(MarketVersion(*row[:3]), *row[3:]) for row in map(tuple, await pool.fetch(sql, *arguments))
    ]


def _narrow(filters: Filters, sort: Sort, at: Page) -> tuple[str, list[object]]:
    """Return the statement that selects the versions of a page's markets and documents, and its arguments. It does
    not read the other columns."""
    value, _, direction = _order(sort)
    page, arguments = _ordered(
        f"SELECT m.market_id, m.xmin AS xid, m.question_cid, {value} FROM markets m", filters, sort, at
    )
    document = f"(SELECT d.xmin FROM market_documents d WHERE {OF_MARKET})"
    sql = f"SELECT m.market_id, m.xid, {document}, {value}, {_MARKET_LIST_OFFSET} FROM ({page}) m"
    return f"{sql} ORDER BY {value} {direction}, m.market_id {direction}", arguments


def _listed(select: str, filters: Filters, sort: Sort, at: Page) -> tuple[str, list[object]]:
    if sort is Sort.TRENDING:
        return _trending(select, filters, at)
    if _needs_documents(filters, sort):
        return _ordered(f"{select} FROM {_ROWS}{_JOIN}", filters, sort, at)
    # Rows that are skipped need no document.
    value, _, direction = _order(sort)
    page, arguments = _ordered(f"SELECT * FROM {_ROWS}", filters, sort, at)
    return f"{select} FROM ({page}) m{_JOIN} ORDER BY {value} {direction}, m.market_id {direction}", arguments


def _ordered(select: str, filters: Filters, sort: Sort, at: Page) -> tuple[str, list[object]]:
    arguments: list[object] = []
    where = [*_where(filters, arguments), *_implied(sort)]
    value, cast, direction = _order(sort)
    if at.after is not None:
        arguments += [_key_value(sort, at.after[0]), at.after[1]]
        compare = "<" if direction == "DESC" else ">"
        where.append(f"({value}, m.market_id) {compare} (${len(arguments) - 1}::{cast}, ${len(arguments)})")
    arguments += [at.limit, at.offset]
    order = f" ORDER BY {value} {direction}, m.market_id {direction}"
    paging = f" LIMIT ${len(arguments) - 1} OFFSET ${len(arguments)}"
    return select + _clause(where) + order + paging, arguments


def _trending(select: str, filters: Filters, at: Page) -> tuple[str, list[object]]:
    arguments: list[object] = []
    where = _where(filters, arguments)
    join = _JOIN if _needs_documents(filters, Sort.TRENDING) else ""
    arguments += [at.limit, at.offset]
    limit, offset = f"${len(arguments) - 1}::bigint", f"${len(arguments)}::bigint"
    # After the recently traded markets come the others, the newest first: only as many as the page can need.
    sql = f"""WITH recent AS MATERIALIZED (SELECT * FROM {TRADED_RECENTLY} t), placed AS (
        (SELECT m.market_id, r.volume * r.wallets AS score, m.created_at
         FROM recent r JOIN markets m USING (market_id){join}{_clause(where)})
        UNION ALL
        (SELECT m.market_id, 0, m.created_at FROM markets m{join}
         {_clause([*where, "m.market_id NOT IN (SELECT market_id FROM recent)"])}
         ORDER BY m.created_at DESC, m.market_id DESC LIMIT {limit} + {offset})
        ORDER BY score DESC, created_at DESC, market_id DESC LIMIT {limit} OFFSET {offset})
    {select} FROM placed p JOIN {_ROWS} USING (market_id){_JOIN}
    ORDER BY p.score DESC, p.created_at DESC, p.market_id DESC"""
    return sql, arguments


def key_of(sort: Sort, row: MarketRow) -> tuple[int | str, str]:
    """Return the sort key of a page's last row, for `after` of the next page. The key of TRENDING has no use, because
    that list is paged by offset."""
    match sort:
        case Sort.NEWEST | Sort.TRENDING:
            return iso_micro(row.created_at), row.market_id
        case Sort.VOLUME:
            return row.total_volume, row.market_id
        case Sort.ENDING:
            return iso_micro(row.ends_at or row.created_at), row.market_id
    assert_never(sort)


def key_of_entry(entry: ListEntry) -> tuple[int | str, str]:
    """Return the sort key of a page's last entry, for `after` of the next page."""
    value = entry.value
    return iso_micro(value) if isinstance(value, datetime) else value or 0, entry.version.market_id


def _needs_documents(filters: Filters, sort: Sort) -> bool:
    return filters.category is not None or filters.q is not None or sort is Sort.ENDING


def _order(sort: Sort) -> tuple[str, str, str]:
    match sort:
        case Sort.NEWEST | Sort.TRENDING:
            return "m.created_at", "timestamptz", "DESC"
        case Sort.VOLUME:
            return "m.total_volume", "numeric", "DESC"
        case Sort.ENDING:
            return "d.ends_at", "timestamptz", "ASC"
    assert_never(sort)


def _key_value(sort: Sort, value: int | str) -> object:
    try:
        return int(value) if sort is Sort.VOLUME else parse_iso(str(value))
    except ValueError:
        raise Invalid("cursor", "This cursor is invalid: start again without it.") from None


def _implied(sort: Sort) -> list[str]:
    """Return the SQL conditions that a sort order implies. ENDING lists only markets that are PROPOSED, APPROVED or
    ACTIVE and whose end date is in the future, in chain time."""
    open_states = "m.state IN ('PROPOSED', 'APPROVED', 'ACTIVE')"
    return [f"d.ends_at > {LATEST_CHAIN_TIME}", open_states] if sort is Sort.ENDING else []


def _where(filters: Filters, arguments: list[object]) -> list[str]:
    parts = (
        ("m.state = ", filters.state, ""),
        ("(d.category = ", filters.category, _or_without_text(filters.category)),
        ("m.creator = ", filters.creator, ""),
        ("m.current_liquidity > ", filters.pool_above, ""),
        ("d.search_vector @@ websearch_to_tsquery('english', ", filters.q, ")"),
    )
    where = []
    for before, value, after in parts:
        if value is not None:
            arguments.append(value)
            where.append(f"{before}${len(arguments)}{after}")
    return where


def _or_without_text(category: str | None) -> str:
    return " OR d.category IS NULL)" if category == UNCATEGORIZED else ")"


def _clause(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""


def _rows(rows: Sequence[Record]) -> list[MarketRow]:
    return [MarketRow(**row) for row in rows]
