"""A market is named by its id or its address, and all interfaces parse both by the same rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

import zmart
from zmart.market.identifiers import MarketRef, is_address, parse_market
from zmart.market.types import Address, MarketId

_SOURCES = Path(zmart.__file__).parent
ID = "0123456789abcdef" * 4
ADDRESS = "6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"

keys = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.title()])
def test_an_id_is_64_hex_characters_in_either_case(text: str) -> None:
    ref = parse_market(text)
    assert ref == MarketRef(id=MarketId(ID))
    assert str(ref) == ID


@pytest.mark.parametrize("text", [ADDRESS, "1" * 32, "So11111111111111111111111111111111111111112"])
def test_an_address_is_base58_of_32_bytes(text: str) -> None:
    ref = parse_market(text)
    assert ref == MarketRef(address=Address(text))
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "nothing", ID[1:], ID + "0", "0x" + ID, "0x" + ID[2:], ID[:-1] + "g", f" {ID}", f"{ID}\n", ID[:-1] + "\0",
        "\N{FULLWIDTH DIGIT ONE}" + ID[1:], ADDRESS[:-1], ADDRESS + "ww", f"{ADDRESS} ", f"{ADDRESS}\n", "1" * 33,
        "z" * 44, "0" * 40, "l" * 40, "\0" * 40, ADDRESS.replace("6", "\N{ARABIC-INDIC DIGIT SIX}"), "é" * 32,
    ],
)  # fmt: skip
def test_other_text_names_no_market(text: str) -> None:
    assert parse_market(text) is None


@given(keys)
def test_every_id_and_every_address_parse_to_themselves(raw: bytes) -> None:
    assert parse_market(raw.hex()) == MarketRef(id=MarketId(raw.hex()))
    address = str(Pubkey(raw))
    assert parse_market(address) == MarketRef(address=Address(address))


@given(st.text(max_size=70) | keys.map(lambda raw: str(Pubkey(raw))).flatmap(
    lambda address: st.integers(0, len(address)).map(lambda at: address[:at] + "1" + address[at:])
))  # fmt: skip
def test_an_address_is_what_the_chain_s_own_library_reads(text: str) -> None:
    try:
        Pubkey.from_string(text)
    except ValueError:
        assert not is_address(text)
    else:
        assert is_address(text)


def test_no_other_module_recognizes_them() -> None:
    form = re.compile(r"len\([\w.]+\) [!=]= 64\b|\[0-9a-f\]\{+64\}|1-9A-HJ-NP-Z")
    found = {
        str(path.relative_to(_SOURCES)) for path in _SOURCES.rglob("*.py") if form.search(path.read_text())
    }
    # wallet.py reads a keypair of 64 bytes; tally.py and voter_list.py check digests, which look like ids.
    assert found == {"market/identifiers.py", "chain/wallet.py", "market/tally.py", "proofs/voter_list.py"}
