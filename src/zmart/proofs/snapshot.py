"""The snapshot of a market: its discussion, its votes and its state, as one canonical document.

The same rows give the same bytes on every machine, so anyone can compute the CID. `previous` links the snapshots of a
market. The only times are those of the data, and the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from zmart.errors import Invalid
from zmart.market.times import iso_micro, parse_iso
from zmart.proofs.canonical import Json, canonical_json, parse_canonical
from zmart.proofs.merkle import MerkleNode, root

TYPE = "zmart-snapshot"
VERSION = 1
CID_VERSION = 1
"""Snapshots are pinned with raw leaves: a document of up to 256 KiB is one block whose hash is its SHA-256."""

Row = Mapping[str, object]

_MARKET_TIMES = (
    "created_at",
    "proposal_aggregated_at",
    "approved_at",
    "activated_at",
    "resolution_proposed_at",
    "dispute_initiated_at",
    "finalized_at",
    "cancelled_at",
)
_MARKET_FIELDS = (
    "address",
    "creator",
    "state",
    "b_parameter",
    "initial_liquidity",
    "current_liquidity",
    "shares_yes",
    "shares_no",
    "total_volume",
    "trades_count",
    "traders",
    "question_cid",
    "evidence_cid",
    "resolver",
    "proposed_outcome",
    "final_outcome",
    "was_disputed",
    "proposal_likes",
    "proposal_dislikes",
    "dispute_agree",
    "dispute_disagree",
    "updated_slot",
)
_TALLY_FIELDS = ("kind", "round", "votes_for", "votes_against", "threshold_bps", "passed", "log_size")
_TERMS_FIELDS = ("kind", "rule", "min_votes")


class LogHead(msgspec.Struct, frozen=True):
    """The head of a vote log: the number of entries, and the RFC 6962 root over them in hex."""

    size: int
    root: str


class MarketSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a snapshot; `document` are its canonical bytes."""

    program: str
    market_id: str
    day: date
    previous: str | None
    market: Row
    comments: Sequence[Row]
    vote_log: LogHead
    voting_terms: Sequence[Row] = ()


def log_head(size: int, peaks: Sequence[tuple[int, int, str]]) -> LogHead:
    """Return the head of a log of `size` entries; `peaks` are its complete subtrees (level, number, hash in hex)."""
    known = {MerkleNode(level, number): bytes.fromhex(hash_hex) for level, number, hash_hex in peaks}
    return LogHead(size, root(size, known).hex())


def document(
    *,
    program: str,
    genesis_hash: str | None,
    day: date,
    previous: str | None,
    market: Row,
    comments: Sequence[Row],
    log: LogHead,
    tallies: Sequence[Row],
    voting_terms: Sequence[Row] = (),
) -> bytes:
    """Return the canonical bytes. `market`, `comments`, `tallies` and `voting_terms` are rows of the database as JSON,
    in the order of (created_at, id), (kind, round) and kind; without terms that are fixed there is no such field.
    Raises Invalid for a row that has no canonical form."""
    terms = [{name: _json(row[name]) for name in _TERMS_FIELDS} for row in voting_terms]
    return canonical_json(
        {
            "type": TYPE,
            "version": VERSION,
            "program": program,
            "genesis_hash": genesis_hash,
            "market_id": _json(market["market_id"]),
            "day": day.isoformat(),
            "previous": previous,
            "market": {
                **{name: _json(market[name]) for name in _MARKET_FIELDS},
                **{name: _time(market[name]) for name in _MARKET_TIMES},
            },
            "comments": [_comment(row) for row in comments],
            "vote_log": {"size": log.size, "root": log.root},
            "tallies": [_tally(row) for row in tallies],
            **({"voting_terms": terms} if terms else {}),
        }
    )


def parse(data: bytes) -> MarketSnapshot:
    """Return the content of a snapshot. Raises Invalid for bytes that are not canonical or no snapshot of this
    version."""
    value = parse_canonical(data)
    if not isinstance(value, Mapping) or value.get("type") != TYPE or value.get("version") != VERSION:
        raise Invalid("snapshot", f"This document is not a {TYPE} of version {VERSION}.")
    try:
        return msgspec.convert(value, MarketSnapshot)
    except msgspec.ValidationError as problem:
        raise Invalid("snapshot", f"The snapshot cannot be read: {problem}.") from None


def _comment(row: Row) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "id": _json(row["id"]),
        "author": _json(row["wallet"]),
        "parent_id": _json(row["parent_id"]),
        "created_at": _time(row["created_at"]),
    }
    deleted_at = _time(row["deleted_at"])
    # Who takes a comment back takes its words back; that there was one stays.
    return (
        {**fields, "deleted_at": deleted_at} if deleted_at else {**fields, "content": _json(row["content"])}
    )


def _tally(row: Row) -> dict[str, Json]:
    log_root = str(row["log_root"]).removeprefix("\\x")
    fields = {name: _json(row[name]) for name in _TALLY_FIELDS}
    return {**fields, "log_root": log_root, "taken_at": _time(row["taken_at"])}


def _time(value: object) -> str | None:
    """Return the time in UTC with microseconds, the precision of the database."""
    return None if value is None else iso_micro(parse_iso(str(value)))


def _json(value: object) -> Json:
    if value is None or isinstance(value, str | int):
        return value
    raise Invalid("snapshot", f"A {type(value).__name__} does not belong into a snapshot.")
