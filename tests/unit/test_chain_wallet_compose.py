"""Secret keys are loaded by one rule and never shown; a transaction is built completely or not at all."""

from __future__ import annotations

import json

import base58
import pytest
from pydantic import SecretStr
from solders.keypair import Keypair
from solders.system_program import TransferParams, transfer

from zmart.chain import compose, compute_budget, wallet
from zmart.errors import ChainError, ConfigError, Invalid
from zmart.settings import Settings

KEY = Keypair.from_seed(bytes(range(32)))
RAW = bytes(KEY)
BASE58 = base58.b58encode(RAW).decode()
BLOCKHASH = "SURFNETxSAFEHASHxxxxxxxxxxxxxxxxxxxxxxxxxx8"


@pytest.mark.parametrize("text", [json.dumps(list(RAW)), BASE58, f"  {BASE58}\n", f"\n{list(RAW)}\n"])
def test_both_formats_load_from_a_file(tmp_path, text):
    path = tmp_path / "id.json"
    path.write_text(text)
    assert wallet.keypair_from_file(path, "BACKEND_KEYPAIR_PATH") == KEY


WRONG = [
    "",
    "[]",
    "hello",
    json.dumps(list(RAW[:32])),
    json.dumps([*RAW[:63], 256]),
    json.dumps([*RAW[:32], *bytes(32)]),
    BASE58[:-4],
    BASE58 + "1" * 60,
    "[" * 3_000,
    '{"secret": 1}',
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_key_is_one_sentence_without_the_key(tmp_path, text):
    path = tmp_path / "id.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="BACKEND_KEYPAIR_PATH is not a keypair") as refusal:
        wallet.keypair_from_file(path, "BACKEND_KEYPAIR_PATH")
    reported = str(refusal.value) + repr(refusal.value.__cause__)
    assert len(text) < 5 or text[:8] not in reported


def test_a_file_that_is_missing_or_huge_or_binary_is_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        wallet.keypair_from_file(tmp_path / "none.json", "ADMIN_KEYPAIR_PATH")
    huge = tmp_path / "huge"
    huge.write_text("1" * 5_000)
    with pytest.raises(ConfigError, match="too long"):
        wallet.keypair_from_file(huge, "ADMIN_KEYPAIR_PATH")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 64)
    with pytest.raises(ConfigError, match="not a keypair"):
        wallet.keypair_from_file(binary, "ADMIN_KEYPAIR_PATH")


def test_the_backend_key_comes_from_either_setting(tmp_path):
    with pytest.raises(ConfigError, match="BACKEND_KEYPAIR_PATH"):
        wallet.backend_keypair(Settings(_env_file=None, backend_keypair_path=None))
    given = Settings(_env_file=None, backend_authority_private_key=SecretStr(BASE58))
    assert wallet.backend_keypair(given) == KEY
    path = tmp_path / "id.json"
    path.write_text(BASE58)
    assert wallet.backend_keypair(Settings(_env_file=None, backend_keypair_path=path)) == KEY
    assert wallet.admin_keypair(Settings(_env_file=None, admin_keypair_path=path)) == KEY


def pay(to=None, lamports=1):
    to = to or Keypair().pubkey()
    return transfer(TransferParams(from_pubkey=KEY.pubkey(), to_pubkey=to, lamports=lamports))


def test_fee_is_signatures_and_priority():
    plain = compose.sign(compose.compile(KEY.pubkey(), [pay()], BLOCKHASH), [KEY])
    assert compute_budget.fee_lamports(plain) == 5_000
    other = Keypair()
    message = compose.compile(
        KEY.pubkey(),
        [pay(), compose.memo("x", [other.pubkey()])],
        BLOCKHASH,
        compute_unit_limit=10_001,
        priority_fee_micro_lamports=1_500,
    )
    assert compute_budget.fee_lamports(compose.sign(message, [KEY, other])) == 10_000 + 16


def test_a_missing_signer_is_told():
    message = compose.compile(KEY.pubkey(), [pay(), compose.memo("x", [Keypair().pubkey()])], BLOCKHASH)
    with pytest.raises(ChainError, match="cannot be signed"):
        compose.sign(message, [KEY])


def test_a_repeated_signer_signs_once():
    message = compose.compile(KEY.pubkey(), [pay()], BLOCKHASH)
    assert len(compose.sign(message, [KEY, KEY]).signatures) == 1


def test_a_wallets_transaction_has_room_for_its_signature():
    tx = compose.unsigned(compose.compile(KEY.pubkey(), [pay()], BLOCKHASH))
    assert [bytes(s) for s in tx.signatures] == [bytes(64)]


def test_what_does_not_fit_a_packet_is_refused():
    message = compose.compile(KEY.pubkey(), [pay() for _ in range(40)], BLOCKHASH)
    with pytest.raises(ChainError, match="1232"):
        compose.sign(message, [KEY])
    with pytest.raises(Invalid, match="566"):
        compose.memo("x" * 567)


def test_a_blockhash_that_is_none_is_refused():
    with pytest.raises(ChainError):
        compose.compile(KEY.pubkey(), [pay()], "not a blockhash")
