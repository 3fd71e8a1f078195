"""A snapshot has the same bytes on every machine, and verification detects a changed history."""

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.chain.accounts import MarketAccount
from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of
from zmart.market.tally import Tally, TallyMemo
from zmart.market.types import MarketState, VoteKind
from zmart.proofs import merkle
from zmart.proofs.canonical import canonical_json
from zmart.proofs.snapshot import LogHead, MarketSnapshot, document, log_head, parse
from zmart.proofs.tally_evidence import Anchor, Evidence
from zmart.proofs.verify_snapshot import against_chain, against_log, compare
from zmart.proofs.verify_tally import Verdict

MARKET = "ab" * 32
EMPTY_LOG = LogHead(0, "")
MARKET_ROW = {
    "market_id": MARKET, "address": "A" * 44, "creator": "C" * 44, "state": "ACTIVE", "b_parameter": 10**9,
    "initial_liquidity": 5, "current_liquidity": 18446744073709551615, "shares_yes": 7, "shares_no": 3,
    "total_volume": 9, "trades_count": 2, "traders": 1, "question_cid": None, "evidence_cid": None,
    "resolver": None, "proposed_outcome": None, "final_outcome": None, "was_disputed": False, "proposal_likes": 7,
    "proposal_dislikes": 3, "dispute_agree": 0, "dispute_disagree": 0, "updated_slot": 77,
    "created_at": "2026-01-02T05:04:05.678901+02:00", "proposal_aggregated_at": None, "approved_at": None,
    "activated_at": None, "resolution_proposed_at": None, "dispute_initiated_at": None, "finalized_at": None,
    "cancelled_at": None, "price_yes_e9": 1,
}  # fmt: skip


def comment(name: str, **changed: Any) -> dict[str, Any]:
    row = {"id": name, "market_id": MARKET, "wallet": "W" * 44, "content": f"I say {name}", "parent_id": None,
           "created_at": "2026-01-02T03:04:05+00:00", "deleted_at": None}  # fmt: skip
    return {**row, **changed}


def made(
    comments: list[dict[str, Any]] | None = None,
    log: LogHead = EMPTY_LOG,
    day: str = "2026-01-03",
    terms: tuple[dict[str, Any], ...] = (),
    **market: Any,
) -> bytes:
    return document(
        program="P" * 44,
        genesis_hash="G" * 44,
        day=date.fromisoformat(day),
        previous=None,
        market={**MARKET_ROW, **market},
        comments=comments or [],
        log=log,
        tallies=[],
        voting_terms=terms,
    )


def read(*comments: dict[str, Any], **changed: Any) -> MarketSnapshot:
    return parse(made(list(comments), **changed))


def test_the_document_and_its_cid_are_known():
    assert cid_of(made([comment("a")]), 1) == KNOWN_CID


def test_rows_in_another_order_of_columns_and_another_time_zone_give_the_same_bytes():
    turned = dict(reversed(MARKET_ROW.items()))
    moved = {**turned, "created_at": "2026-01-02T03:04:05.678901+00:00"}
    assert made(**moved) == made()


def test_a_comment_that_was_taken_back_is_a_tombstone_without_its_words():
    gone = comment("a", deleted_at="2026-01-02T03:04:06+00:00")
    data = made([gone])
    assert b"I say a" not in data
    assert parse(data).comments[0] == {
        "id": "a",
        "author": "W" * 44,
        "parent_id": None,
        "created_at": "2026-01-02T03:04:05.000000Z",
        "deleted_at": "2026-01-02T03:04:06.000000Z",
    }


@given(st.lists(st.binary(min_size=1, max_size=8), max_size=40))
def test_the_log_head_out_of_the_peaks_is_the_root_over_all_entries(entries):
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    nodes = merkle.append(0, leaves, {})
    size = len(leaves)
    peaks = [(bit, (size >> bit) - 1) for bit in range(size.bit_length()) if size >> bit & 1]
    known = [(level, number, nodes[merkle.MerkleNode(level, number)].hex()) for level, number in peaks]
    assert log_head(size, known) == LogHead(size, merkle.root(size, nodes).hex())


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b"not json", b'{"type":"zmart-snapshot","version":2}', made() + b" ", made()[:-1]]
)
def test_what_is_no_snapshot_is_refused(data):
    with pytest.raises(Invalid):
        parse(data)


TERMS = {"market_id": MARKET, "kind": "dispute", "rule": "staked;50000000", "min_votes": 10}
TERMS_IN = {"kind": "dispute", "rule": "staked;50000000", "min_votes": 10}


def comment_in(name: str, content: str = "") -> dict[str, Any]:
    """Return a comment as it is in a document."""
    return {"id": name, "author": "W" * 44, "parent_id": None, "content": content or f"I say {name}",
            "created_at": "2026-01-02T03:04:05.000000Z"}  # fmt: skip


def broken(older: MarketSnapshot, newer: MarketSnapshot) -> int:
    return sum(finding.verdict is Verdict.BROKEN for finding in compare(older, newer))


def test_a_history_that_only_grew_holds():
    older = read(comment("a"), comment("b"), log=LogHead(2, "r2"))
    newer = read(
        comment("a"), comment("b", deleted_at="2026-01-03T00:00:00+00:00"), comment("c"), log=LogHead(3, "r3")
    )
    assert broken(older, newer) == 0
    assert broken(older, older) == 0


@pytest.mark.parametrize(
    "newer",
    [
        read(comment("a")),
        read(comment("a"), comment("b", content="something else")),
        read(comment("a"), comment("b", wallet="X" * 44)),
        read(comment("a"), comment("b"), log=LogHead(1, "r1")),
        read(comment("a"), comment("b"), log=LogHead(2, "forked")),
        read(comment("a"), comment("b"), log=LogHead(2, "r2"), day="2026-01-02"),
        read(comment("a"), comment("b"), log=LogHead(2, "r2"), market_id="cd" * 32),
    ],
    ids=["gone", "changed", "another author", "log shrank", "log forked", "older day", "another market"],
)
def test_a_changed_history_is_found_out(newer):
    assert broken(read(comment("a"), comment("b"), log=LogHead(2, "r2")), newer) >= 1


@pytest.mark.parametrize("keeps", [True, False], ids=["grew", "rewritten"])
def test_only_a_copy_of_the_log_shows_that_an_earlier_one_is_its_beginning(keeps):
    votes = [f"vote {number}".encode() for number in range(5)]
    heads = {
        size: LogHead(size, root.hex())
        for size, root in merkle.roots_at(map(merkle.leaf_hash, votes), [0, 3, 5]).items()
    }
    older, newer = (read(log=heads[size]) for size in (3, 5))
    assert [f.verdict for f in compare(older, newer) if "vote log" in f.text] == [Verdict.NOTE]
    assert [f.verdict for f in compare(read(log=heads[0]), newer) if "vote log" in f.text] == [Verdict.HOLDS]
    copy = votes if keeps else [b"another vote", *votes[1:]]
    expected = Verdict.HOLDS if keeps else Verdict.BROKEN
    assert [f.verdict for f in against_log([newer, older], copy)] == [expected, expected]
    assert [f.verdict for f in against_log([newer, older], copy[:4])] == [Verdict.UNKNOWN, expected]


@pytest.mark.parametrize(
    "changed",
    [
        {"comments": [comment_in("a", "other words"), comment_in("a")]},
        {"comments": [{}]},
        {"comments": [{**comment_in("a"), "id": ["a"]}]},
        {"comments": [{key: value for key, value in comment_in("a").items() if key != "content"}]},
        {"voting_terms": [TERMS_IN | {"rule": "open"}, TERMS_IN]},
        {"voting_terms": [{}]},
        {"market": {}},
        {"vote_log": {"size": -1, "root": ""}},
    ],
    ids=[
        "a comment twice",
        "empty comment",
        "id is a list",
        "no words",
        "terms twice",
        "empty terms",
        "no market",
        "log",
    ],
)
def test_a_document_whose_rows_are_not_those_of_a_snapshot_is_refused(changed):
    """A row that is there twice could say one thing to who reads it and another to who compares it."""
    whole = msgspec.json.decode(made([comment("a")], terms=(TERMS,)))
    parse(canonical_json(whole))
    with pytest.raises(Invalid):
        parse(canonical_json(whole | changed))


def test_words_that_come_back_after_they_were_taken_back_are_found_out():
    gone = read(comment("a", deleted_at="2026-01-02T03:04:06+00:00"))
    assert broken(gone, read(comment("a"))) == 1


def account(**changed: Any) -> MarketAccount:
    """Return the account of the market in MARKET_ROW, with the fields in `changed` replaced."""
    same = {name: MARKET_ROW[name] for name in MARKET_ROW if name in MarketAccount.__struct_fields__}
    zero = dict.fromkeys(MarketAccount.__struct_fields__, 0)
    return MarketAccount(**{**zero, **same, "state": MarketState.ACTIVE, **changed})


def judged(snapshot: MarketSnapshot, root: str = "", **changed: Any) -> list[Verdict]:
    memo = TallyMemo(kind=VoteKind.PROPOSAL, log_size=2, log_root=root)
    anchor = Anchor(VoteKind.PROPOSAL, Tally(1, 1), "sig", 1, memo)
    evidence = Evidence(
        program="P" * 44,
        market_id=MARKET,
        config=None,
        account=account(**changed),
        anchors={VoteKind.PROPOSAL: anchor},
        vote_records={},
    )
    return [finding.verdict for finding in against_chain(snapshot, evidence)]


def test_a_snapshot_that_says_what_the_chain_says_holds():
    assert judged(read(log=LogHead(2, "r2")), "r2") == [Verdict.HOLDS] * 4


def test_a_snapshot_of_another_chain_is_broken_though_program_and_market_are_the_same():
    """One program id, and so one address for each market, may be used on several clusters."""
    evidence = Evidence(
        program="P" * 44, market_id=MARKET, config=None, account=account(), anchors={}, vote_records={}
    )

    def chains(snapshot: MarketSnapshot, genesis_hash: str) -> list[Verdict]:
        asked = msgspec.structs.replace(evidence, genesis_hash=genesis_hash)
        return [finding.verdict for finding in against_chain(snapshot, asked) if "chain" in finding.text]

    assert chains(read(), "G" * 44)[0] is Verdict.HOLDS
    assert chains(read(), "D" * 44)[0] is Verdict.BROKEN
    elsewhere, unknown = (msgspec.structs.replace(read(), genesis_hash=each) for each in ("D" * 44, None))
    assert chains(unknown, "G" * 44)[0] is Verdict.NOTE
    assert (broken(elsewhere, read()), broken(read(), unknown), broken(unknown, read())) == (1, 1, 0)


def test_a_market_that_went_on_since_is_a_note():
    assert judged(read(), shares_yes=8) == [Verdict.HOLDS, Verdict.HOLDS, Verdict.NOTE]


@pytest.mark.parametrize(
    ("snapshot", "root", "changed"),
    [
        (read(), "", {"creator": "X" * 44}),
        (read(), "", {"b_parameter": 1}),
        (read(state="FINALIZED"), "", {}),
        (read(log=LogHead(2, "forged")), "r2", {}),
    ],
    ids=["another creator", "another b", "finalized only here", "another log"],
)
def test_what_the_chain_contradicts_is_broken(snapshot, root, changed):
    assert judged(snapshot, root, **changed).count(Verdict.BROKEN) == 1


def test_the_document_is_plain_json():
    assert msgspec.json.decode(made())["market"]["current_liquidity"] == 18446744073709551615


KNOWN_CID = "bafkreicg6crxch5l6tudzqmyc6lvptisqsiueiuh46disdgqcquzwvtpre"


def test_the_terms_of_a_vote_are_in_it_once_they_are_fixed_and_may_not_change():
    fixed = read(terms=(TERMS,))
    assert fixed.voting_terms == [{"kind": "dispute", "rule": "staked;50000000", "min_votes": 10}]
    assert (broken(read(), fixed), broken(fixed, fixed)) == (0, 0)
    assert broken(fixed, read(terms=({**TERMS, "rule": "open"},))) == 1
    assert broken(fixed, read()) == 1, "else they could be left out once, and be others afterwards"
    assert broken(fixed, read(terms=({**TERMS, "min_votes": 1},))) == 1
