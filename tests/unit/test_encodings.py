"""Signatures are read from text in three encodings; the error for any other text describes the text."""

from __future__ import annotations

import base64
from collections.abc import Callable

import base58
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from zmart.chain.signatures import parse_signature
from zmart.errors import DecodeError, Unauthenticated
from zmart.market.encodings import decode_base58, describe, read_signature
from zmart.market.types import Wallet
from zmart.proofs.signatures import require_signature

FORMS: dict[str, Callable[[bytes], str]] = {
    "base58": lambda raw: base58.b58encode(raw).decode(),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64 without padding": lambda raw: base64.b64encode(raw).decode().rstrip("="),
    "base64url": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "hex": bytes.hex,
    "HEX": lambda raw: raw.hex().upper(),
    "0x": lambda raw: "0x" + raw.hex(),
}


@settings(deadline=None)
@given(st.integers(0, 300), st.binary(max_size=1_500))
@example(0, b"")
@example(300, b"")
@example(1, b"\xff" * 3_000)
def test_a_long_text_in_base58_is_read_as_a_short_one(zeros: int, raw: bytes) -> None:
    """A5: long base58 text decodes correctly. A delivery may have hundreds of instructions with 10 KiB of data."""
    text = base58.b58encode(bytes(zeros) + raw).decode()
    assert decode_base58(text) == bytes(zeros) + raw


@pytest.mark.parametrize("place", [0, 100, 149, 150, 151, 299])
@pytest.mark.parametrize("character", ["0", "l", " ", "\n", "é"])
def test_a_long_text_with_another_character_is_no_base58(place: int, character: str) -> None:
    text = "a" * 300
    with pytest.raises(ValueError, match="base58"):
        decode_base58(text[:place] + character + text[place + 1 :])


@given(st.binary(min_size=64, max_size=64))
@example(bytes(64))
@example(b"\xff" * 64)
def test_every_encoding_of_64_bytes_is_the_same_signature(raw: bytes) -> None:
    signature = base58.b58encode(raw).decode()
    for name, form in FORMS.items():
        assert read_signature(f" {form(raw)}\n") == signature, name


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 100])
def test_another_number_of_bytes_is_refused_by_the_encoding_and_the_number(size: int) -> None:
    for name, form in FORMS.items():
        text = form(bytes(range(1, size + 1)))
        with pytest.raises(
            Unauthenticated, match="64 bytes in base58, base64 or hex; this one is"
        ) as refusal:
            read_signature(text)
        if size in (32, 63, 65, 100):
            encoding = name.replace("0x", "hex").lower()[:6].strip()
            assert f"{encoding} of {size} bytes" in str(refusal.value), name


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "empty"),
        ("[" + ",".join(["7"] * 64) + "]", "a list of 64 numbers"),
        ("[" * 5_000, "in none of these encodings"),
        ("<signature>", "in none of these encodings"),
        ("\u0661" * 64, "in none of these encodings"),
        ("z" * 401, "a text of 401 characters"),
        ("z" * 1_000_000, "a text of 1000000 characters"),
    ],
)
def test_what_is_no_encoding_is_named_as_what_it_is(text: str, seen: str) -> None:
    assert describe(text) == seen
    with pytest.raises(Unauthenticated, match=seen):
        read_signature(text)


@pytest.mark.parametrize("text", [" {}", "{}\n", "\u00a0{}\t"])
def test_white_space_around_what_is_right_is_named(text: str) -> None:
    """U9: the description of a value with white space around it names the white space, the reason for its refusal."""
    wallet = "1" * 31 + "2"
    assert describe(wallet) == "base58 of 32 bytes"
    assert describe(text.format(wallet)) == "base58 of 32 bytes, with white space around it"


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        assert len(base58.b58decode(read_signature(text))) == 64
    except Unauthenticated:
        assert describe(text)


def test_a_signature_of_another_wallet_is_refused_in_every_encoding() -> None:
    key, other = Keypair.from_seed(b"a" * 32), Keypair.from_seed(b"b" * 32)
    signature = bytes(key.sign_message(b"text"))
    for form in FORMS.values():
        assert require_signature(Wallet(str(key.pubkey())), "text", form(signature)) == FORMS["base58"](
            signature
        )
        with pytest.raises(Unauthenticated, match="not that of"):
            require_signature(Wallet(str(other.pubkey())), "text", form(signature))


def test_a_transaction_is_named_in_base58_alone() -> None:
    raw = bytes(range(64))
    assert parse_signature(FORMS["base58"](raw)) == FORMS["base58"](raw)
    for name in ("base64", "hex"):
        with pytest.raises(DecodeError, match=f"this is {name} of 64 bytes"):
            parse_signature(FORMS[name](raw))
