"""The statement that a wallet signs for a vote, the entries of the vote log, and the check of their signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair

from zmart.errors import Invalid
from zmart.market.types import Address, MarketId, VoteKind, Wallet
from zmart.market.vote_entries import LogEntry, VoteChannel, parse_entry
from zmart.market.votes import Statement, parse_statement, vote_of_choice
from zmart.proofs.signatures import signed_text

PROGRAM = Address("6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw")
WALLET = Keypair.from_seed(bytes(range(32)))
LAST_MS = 253_402_300_799_999

STATEMENT = Statement(
    program=PROGRAM,
    market_id=MarketId("ab" * 32),
    kind=VoteKind.PROPOSAL,
    vote=True,
    wallet=Wallet(str(WALLET.pubkey())),
    issued_ms=1_735_732_800_007,
)
TEXT = f"""ZMART vote
program: 6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw
market: {"ab" * 32}
kind: proposal
choice: like
wallet: {WALLET.pubkey()}
issued: 2025-01-01T12:00:00.007Z"""

statements = st.builds(
    Statement,
    program=st.just(PROGRAM),
    market_id=st.binary(min_size=32, max_size=32).map(lambda raw: MarketId(raw.hex())),
    kind=st.sampled_from(VoteKind),
    vote=st.booleans(),
    wallet=st.binary(min_size=32, max_size=32).map(
        lambda seed: Wallet(str(Keypair.from_seed(seed).pubkey()))
    ),
    issued_ms=st.integers(0, LAST_MS),
)


def test_the_text_is_the_promised_one() -> None:
    assert STATEMENT.text() == TEXT
    assert parse_statement(TEXT) == STATEMENT


@given(statements)
def test_every_statement_reads_back(statement: Statement) -> None:
    assert parse_statement(statement.text()) == statement


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_no_other_text_reads_as_the_same_statement(at: int, character: str) -> None:
    text = TEXT[:at] + character + TEXT[at + 1 :]
    try:
        read = parse_statement(text)
    except Invalid:
        return
    assert (read == STATEMENT) is (text == TEXT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT + "\n",
        "\n" + TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("choice: like", "choice: agree"),
        TEXT.replace("kind: proposal", "kind: dispute"),
        TEXT.replace("2025-01-01", "2025-02-30"),
        TEXT.replace("12:00", "25:00"),
        TEXT.replace("12:00:00", "12:00:60"),
        TEXT.replace("12:00:00", "24:00:00"),
        TEXT.replace("ab" * 32, "AB" * 32),
        TEXT.replace("2025", "\N{ARABIC-INDIC DIGIT TWO}025"),
        TEXT + " " * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_statement(text)
    assert refused.value.field == "statement"


@pytest.mark.parametrize(
    ("kind", "choice", "vote"),
    [
        (VoteKind.PROPOSAL, "like", True),
        (VoteKind.PROPOSAL, "reject", False),
        (VoteKind.DISPUTE, "support", True),
        (VoteKind.DISPUTE, "disagree", False),
    ],
)
def test_words_of_clients_mean_votes(kind: VoteKind, choice: str, vote: bool) -> None:
    assert vote_of_choice(kind, choice) is vote


def test_a_word_of_the_other_kind_is_refused() -> None:
    with pytest.raises(Invalid, match="dispute vote"):
        vote_of_choice(VoteKind.DISPUTE, "like")


@given(statements, st.sampled_from(VoteChannel), st.binary(min_size=64, max_size=64))
def test_every_log_entry_reads_back(statement: Statement, channel: VoteChannel, raw: bytes) -> None:
    import base58

    proof = None if channel is VoteChannel.SESSION else base58.b58encode(raw).decode()
    entry = LogEntry(channel=channel, statement=statement, proof=proof)
    assert parse_entry(entry.encode()) == entry


@pytest.mark.parametrize("raw", [b"", b"\xff", b"ZMART vote log entry 1", TEXT.encode(), b"x" * 10_000_000])
def test_other_bytes_are_no_log_entry(raw: bytes) -> None:
    with pytest.raises(Invalid):
        parse_entry(raw)


SAMPLE = "A line\nand another"
ENVELOPES = {
    "version 0, format 1": (
        "ff736f6c616e61206f6666636861696e000180965a7e81351ebeaa90ad9702d1997c68721650bd182e569f89c6ebddf8900101"
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8120041206c696e650a616e6420616e6f74686572"
    ),
    "version 0, format 2": (
        "ff736f6c616e61206f6666636861696e000180965a7e81351ebeaa90ad9702d1997c68721650bd182e569f89c6ebddf8900201"
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8120041206c696e650a616e6420616e6f74686572"
    ),
    "version 1": (
        "ff736f6c616e61206f6666636861696e010103a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b841206c"
        "696e650a616e6420616e6f74686572"
    ),
}
"""Off-chain messages around SAMPLE, in hex, as @solana/offchain-messages 8.4.0 encodes them for WALLET.

Their application domain is PROGRAM.
"""


@pytest.mark.parametrize("encoded", ENVELOPES.values(), ids=ENVELOPES)
def test_envelopes_of_the_official_library_count(encoded: str) -> None:
    """A18: a vote may be signed as an off-chain message of version 0 or 1, in the bytes that @solana/kit signs."""
    signature = str(WALLET.sign_message(bytes.fromhex(encoded)))
    assert signed_text(STATEMENT.wallet, SAMPLE, signature, PROGRAM)
    assert not signed_text(STATEMENT.wallet, SAMPLE + "!", signature, PROGRAM)


def envelope(form: int, text: bytes, application: bytes | None) -> bytes:
    head = b"\xffsolana offchain\0"
    if application is not None:
        head += application
    head += bytes([form])
    if application is not None:
        head += b"\1" + bytes(WALLET.pubkey())
    return head + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("application", [None, bytes(32)])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_signatures_over_the_text_and_over_its_envelopes_count(form: int, application: bytes | None) -> None:
    wallet, raw = STATEMENT.wallet, TEXT.encode()
    for message in (raw, envelope(form, raw, application)):
        assert signed_text(wallet, TEXT, str(WALLET.sign_message(message)), PROGRAM)


def test_an_envelope_counts_for_its_signer_its_version_and_a_domain_of_ours_only() -> None:
    head, key, raw = b"\xffsolana offchain", bytes(WALLET.pubkey()), TEXT.encode()
    length = len(raw).to_bytes(2, "little")
    other = bytes(Keypair.from_seed(bytes(32)).pubkey())
    for message in (
        head + b"\1\1" + other + raw,
        head + b"\1\2" + key + other + raw,
        head + b"\2\1" + key + raw,
        head + b"\0" + other + b"\1\1" + key + length + raw,
    ):
        assert not signed_text(STATEMENT.wallet, TEXT, str(WALLET.sign_message(message)), PROGRAM)


def test_a_text_that_no_envelope_of_version_0_holds_is_judged_as_raw_bytes() -> None:
    text = "x" * 70_000
    assert signed_text(STATEMENT.wallet, text, str(WALLET.sign_message(text.encode())))
    assert not signed_text(STATEMENT.wallet, text, str(WALLET.sign_message(b"x")))


def test_a_signature_over_another_text_or_by_another_wallet_does_not_count() -> None:
    signature = str(WALLET.sign_message(TEXT.encode()))
    assert not signed_text(STATEMENT.wallet, TEXT.replace("like", "dislike"), signature)
    assert not signed_text(Wallet(str(Keypair.from_seed(bytes(32)).pubkey())), TEXT, signature)
    for nonsense in ("", "x", "1" * 64, "1" * 88, "0OIl"):
        assert not signed_text(STATEMENT.wallet, TEXT, nonsense)
    assert not signed_text(Wallet("nobody"), TEXT, signature)
