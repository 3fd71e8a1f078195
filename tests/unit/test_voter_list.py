"""A signed list of wallets has the same bytes for the same wallets, and every change of it is detected (A1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.votes import (
    AUTHORITY,
    PROGRAM,
)
from kit.wallets import address_of, wallet
from zmart.errors import Invalid
from zmart.ipfs.cid import cid_of
from zmart.market.types import Address
from zmart.proofs.voter_list import MAX_BYTES, MAX_WALLETS, VoterList, parse_list, sign_list

ADMIN = wallet(77)
SIGNERS = (address_of(AUTHORITY), address_of(ADMIN))
SIGNED = sign_list(PROGRAM, [address_of(wallet(n)) for n in range(1, 9)], AUTHORITY)


def read(raw: bytes) -> VoterList:
    return parse_list(raw, cid_of(raw, 1), PROGRAM, SIGNERS)


def test_a_list_is_read_back_and_its_order_does_not_matter() -> None:
    assert read(SIGNED.encode()) == SIGNED
    backwards = [*reversed(SIGNED.wallets), SIGNED.wallets[0] + "\n"]
    assert sign_list(PROGRAM, backwards, AUTHORITY).encode() == SIGNED.encode()
    assert parse_list(SIGNED.encode(), cid_of(SIGNED.encode(), 0), PROGRAM, SIGNERS) == SIGNED


def test_the_admin_may_sign_and_nobody_else() -> None:
    by_admin = sign_list(PROGRAM, SIGNED.wallets, ADMIN)
    assert read(by_admin.encode()).signer == address_of(ADMIN)
    with pytest.raises(Invalid, match="neither as backend authority nor as admin"):
        read(sign_list(PROGRAM, SIGNED.wallets, wallet(5)).encode())


@given(st.integers(0, len(SIGNED.encode()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, change: int) -> None:
    raw = bytearray(SIGNED.encode())
    raw[place] ^= change
    with pytest.raises(Invalid):
        read(bytes(raw))


def test_a_list_of_another_program_or_cid_is_refused() -> None:
    other = sign_list(Address(address_of(wallet(3))), SIGNED.wallets, AUTHORITY)
    with pytest.raises(Invalid, match="is for program"):
        read(other.encode())
    with pytest.raises(Invalid, match="not those of"):
        parse_list(SIGNED.encode(), other.cid, PROGRAM, SIGNERS)


def test_wallets_added_behind_the_signature_are_found() -> None:
    longer = SIGNED.encode() + address_of(wallet(99)).encode() + b"\n"
    with pytest.raises(Invalid, match="not as its head says"):
        read(longer)


def test_a_list_is_bounded() -> None:
    too_large = b"x" * (MAX_BYTES + 1)
    with pytest.raises(Invalid, match="larger than"):
        parse_list(too_large, cid_of(b"x", 1), PROGRAM, SIGNERS)
    assert MAX_WALLETS * 45 + 500 < MAX_BYTES
    with pytest.raises(Invalid, match="1 to 100000 wallets"):
        sign_list(PROGRAM, [], AUTHORITY)
    with pytest.raises(Invalid, match="no wallet's address"):
        sign_list(PROGRAM, ["nobody"], AUTHORITY)
