"""I1, I3, W1: transactions of every version that this release reads, and of newer versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import base58
import pytest
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

import zmart
from kit.chain_story import PROGRAM, Story
from zmart.chain.event_extraction import extract_events
from zmart.chain.transactions import parse_transaction
from zmart.chain.versions import NEWEST_READABLE_VERSION, check_readable, max_transaction_bytes
from zmart.chain.webhooks import parse_webhook
from zmart.errors import DecodeError, UnsupportedVersion

CONFIG = {
    "computeUnitLimit": 200_000,
    "heapSize": None,
    "loadedAccountsDataSizeLimit": 65_536,
    "priorityFee": 5,
}


def told(version: object, **changes: object) -> bytes:
    """Return the JSON of one transaction as a node renders it for this transaction version."""
    raw = json.loads(Story(1).txs[2].raw())
    if version == 1:  # version 1 has no lookup tables, and its message has the compute budget
        raw["transaction"]["message"] |= {"transactionConfig": CONFIG, "recentBlockhash": "1" * 32}
    return json.dumps(raw | {"version": version} | changes).encode()


@pytest.mark.parametrize("version", ["legacy", None, *range(NEWEST_READABLE_VERSION + 1)])
def test_a_transaction_of_every_readable_version_tells_the_same_events(version: object) -> None:
    """I1, W1: the same events are extracted from every readable version, fetched or delivered by a webhook."""
    events = extract_events(PROGRAM, parse_transaction(told(0))).events
    assert events
    assert extract_events(PROGRAM, parse_transaction(told(version))).events == events
    [item] = parse_webhook(b"[" + told(version) + b"]")
    assert item.raw is not None
    assert extract_events(PROGRAM, parse_transaction(item.raw)).events == events


@pytest.mark.parametrize("version", [NEWEST_READABLE_VERSION + 1, 127, 255, -1, "2", "new", 1.5, True, [2]])
@pytest.mark.parametrize(
    "changes", [{}, {"transaction": {"signatures": ["x"], "payload": "?"}}, {"meta": None}], ids=str
)
def test_a_version_that_nobody_here_reads_is_called_so_whatever_it_looks_like(
    version: object, changes: dict[str, object]
) -> None:
    """I1: a transaction of a newer version is reported as such, not as garbled and not parsed by another version."""
    with pytest.raises(UnsupportedVersion, match="It is stored"):
        parse_transaction(told(version, **changes))


def test_what_is_garbled_is_not_called_a_new_version() -> None:
    for raw in (b"", b"{", b"null", told(1, transaction={}), told("legacy", meta=3)):
        with pytest.raises(DecodeError) as refused:
            parse_transaction(raw)
        assert not isinstance(refused.value, UnsupportedVersion)


def test_check_readable_accepts_what_nodes_say_of_old_ones() -> None:
    for version in (None, "legacy", 0, NEWEST_READABLE_VERSION):
        check_readable(version)


def signed(kind: str, payload: int) -> bytes:
    payer, program = Keypair(), Pubkey(base58.b58decode(PROGRAM.address))
    call = Instruction(program, b"x" * payload, [])
    message: Message | MessageV0 | MessageV1
    match kind:
        case "legacy":
            message = Message.new_with_blockhash([call], payer.pubkey(), Hash.default())
        case "v0":
            message = MessageV0.try_compile(payer.pubkey(), [call], [], Hash.default())
        case _:
            config = TransactionConfig(compute_unit_limit=1)
            message = MessageV1.try_compile(payer.pubkey(), [call], Hash.default(), config)
    return bytes(VersionedTransaction(message, [payer]))


@pytest.mark.parametrize(("kind", "most"), [("legacy", 1_232), ("v0", 1_232), ("v1", 4_096)])
def test_each_version_has_its_own_size(kind: str, most: int) -> None:
    """I3: a transaction may have 1,232 bytes in the versions legacy and 0, and 4,096 bytes in version 1."""
    assert max_transaction_bytes(signed(kind, 10)) == most
    assert max_transaction_bytes(signed(kind, 3_000)) == most


def test_no_request_names_a_version_of_its_own() -> None:
    """I1: the newest version that a request accepts is the parser's constant; no request has its own number."""
    package = Path(zmart.__file__).parent
    numbers = re.compile(r"maxSupportedTransactionVersion\"?\s*:\s*(\d+)")
    for source in [*package.rglob("*.py"), *package.rglob("chain/*.js")]:
        assert not numbers.search(source.read_text()), source
