"""Compose and parse the snapshot of a market: its discussion, its votes and its state, as one canonical document.

The same rows give the same bytes on every machine, so anyone can compute the CID. `previous` is the CID of the market's
snapshot before it. The document has no times except those of the data, and the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from zmart.errors import Invalid
from zmart.market.times import iso_micro, parse_iso
from zmart.proofs.canonical import Json, canonical_json, parse_canonical
from zmart.proofs.merkle import MerkleNode, root

TYPE = "zmart-snapshot"
VERSION = 1
CID_VERSION = 1
"""The CID version of snapshots, with raw leaves: a CID holds the SHA-256 of the document if that has up to 256 KiB."""

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
    """The head of a vote log: the number of its entries, and the RFC 6962 root over them in hex."""

    size: Annotated[int, Meta(ge=0)]
    root: str


class _SnapshotComment(msgspec.Struct, frozen=True):
    id: str
    author: str
    parent_id: str | None
    created_at: str
    content: str | UnsetType = UNSET
    deleted_at: str | UnsetType = UNSET


class _SnapshotTerms(msgspec.Struct, frozen=True):
    kind: str
    rule: str
    min_votes: int


class MarketSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The parsed content of a snapshot, without its tallies; `previous` is the CID of the snapshot before it.

    `genesis_hash` is that of the chain, None in a snapshot that was made before the chain was known.
    """

    program: str
    genesis_hash: str | None
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
    """Return the canonical bytes of a snapshot.

    `market`, `comments`, `tallies` and `voting_terms` are rows of the database as JSON. Comments are in the order of
    (created_at, id), tallies of (kind, round), terms of kind. Without fixed terms the document has no `voting_terms`.
    Raises Invalid for a row that has no canonical form.
    """
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
    """Return the content of a snapshot's bytes.

    Raises Invalid if they are not canonical or are no snapshot of this version, and if a row lacks a field or is there
    twice.
    """
    value = parse_canonical(data)
    if not isinstance(value, Mapping) or value.get("type") != TYPE or value.get("version") != VERSION:
        raise Invalid("snapshot", f"This document is not a {TYPE} of version {VERSION}.")
    try:
        snapshot = msgspec.convert(value, MarketSnapshot)
        _check_rows(snapshot)
        return snapshot
    except msgspec.ValidationError as problem:
        raise Invalid("snapshot", f"The snapshot cannot be read: {problem}.") from None


def _check_rows(snapshot: MarketSnapshot) -> None:
    comments = msgspec.convert(snapshot.comments, list[_SnapshotComment])
    terms = msgspec.convert(snapshot.voting_terms, list[_SnapshotTerms])
    if len({row.id for row in comments}) < len(comments) or len({row.kind for row in terms}) < len(terms):
        raise Invalid("snapshot", "The snapshot has a comment, or the terms of a vote, twice.")
    if any((row.content is UNSET) == (row.deleted_at is UNSET) for row in comments):
        raise Invalid("snapshot", "A comment has either content or the time at which it was deleted.")
    if missing := {*_MARKET_FIELDS, *_MARKET_TIMES} - snapshot.market.keys():
        raise Invalid("snapshot", f"The market of the snapshot lacks {min(missing)}.")


def _comment(row: Row) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "id": _json(row["id"]),
        "author": _json(row["wallet"]),
        "parent_id": _json(row["parent_id"]),
        "created_at": _time(row["created_at"]),
    }
    deleted_at = _time(row["deleted_at"])
    # A comment that its author deleted remains in the snapshot, without its content.
    return (
        {**fields, "deleted_at": deleted_at} if deleted_at else {**fields, "content": _json(row["content"])}
    )


def _tally(row: Row) -> dict[str, Json]:
    log_root = str(row["log_root"]).removeprefix("\\x")
    fields = {name: _json(row[name]) for name in _TALLY_FIELDS}
    return {**fields, "log_root": log_root, "taken_at": _time(row["taken_at"])}


def _time(value: object) -> str | None:
    """Return a time of the database in ISO 8601, in UTC with microseconds; None for None."""
    return None if value is None else iso_micro(parse_iso(str(value)))


def _json(value: object) -> Json:
    if value is None or isinstance(value, str | int):
        return value
    raise Invalid("snapshot", f"A {type(value).__name__} does not belong into a snapshot.")
