"""Digests of one transaction from two sources are equal, although sources render it differently; others are not."""

from __future__ import annotations

import random

import msgspec
import pytest

from kit.chain_story import PROGRAM, Story
from kit.forgeries import FORGERIES, honest
from zmart.chain.digest import differences, digest_of, unpacked
from zmart.chain.event_extraction import extract_events
from zmart.chain.transactions import parse_transaction
from zmart.errors import DecodeError

STORY = Story(31, markets=2)
VICTIMS = [tx for tx in STORY.txs if tx.events]
CONTENT = [forge for forge in FORGERIES if forge.__name__ not in ("garbage", "other_version")]


def digest(value):
    tx = parse_transaction(msgspec.json.encode(value))
    return digest_of(tx, extract_events(PROGRAM, tx))


@pytest.mark.parametrize("forge", CONTENT, ids=lambda forge: forge.__name__)
def test_every_forgery_differs(forge):
    """Case A2: a transaction that was forged in any way has another digest than the real one."""
    chance = random.Random(3)
    for tx in VICTIMS:
        value = forge(tx, STORY.txs, chance)
        assert differences(digest(value), digest(honest(tx))), value


def test_a_version_differs_where_both_tell_it():
    tx = VICTIMS[0]
    untold = {name: value for name, value in honest(tx).items() if name != "version"}
    assert differences(digest(honest(tx) | {"version": 1}), digest(honest(tx))) == ["version"]
    assert differences(digest(untold), digest(honest(tx))) == []
    with pytest.raises(DecodeError):
        digest(honest(tx) | {"version": 99})


def test_what_a_source_may_render_in_its_own_way_makes_no_difference():
    for tx in STORY.txs:
        other = honest(tx) | {"blockTime": None, "indexWithinBlock": 7}
        other["meta"] |= {"innerInstructions": None, "fee": 1, "preBalances": [], "rewards": None}
        for call in other["transaction"]["message"]["instructions"]:
            del call["stackHeight"]
        assert differences(digest(other), digest(honest(tx))) == []


def test_a_digest_is_read_as_it_was_written():
    result = digest(honest(VICTIMS[0]))
    assert unpacked(result.packed()) == result
    assert len(result.packed()) < 150
