"""Tests of the amounts that people type on the pages (static/js/numbers.js): each has one reading, or is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kit.installed import ROOT
from zmart.local.chain.node import find_node

NUMBERS = ROOT / "src/zmart/services/gateway/explorer/static/js/numbers.js"
SCRIPT = """
import { units, whyNoAmount } from "./numbers.mjs";
const typed = JSON.parse(process.argv[2]);
const read = (text) => [units(text) === null ? null : String(units(text)), whyNoAmount(text, "no amount")];
console.log(JSON.stringify(typed.map(read)));
"""
AMOUNTS = {
    "0.5": 500_000_000,
    "0,5": 500_000_000,
    ".5": 500_000_000,
    ",5": 500_000_000,
    "1": 10**9,
    " 1 ": 10**9,
    "007": 7 * 10**9,
    "1000": 1000 * 10**9,
    "1000.5": 1000 * 10**9 + 500_000_000,
    "1.000": 10**9,
    "1.84": 1_840_000_000,
    "1,84": 1_840_000_000,
    "1,0000": 10**9,
    "0.000000001": 1,
    "999999999.999999999": 10**18 - 1,
    "0": 0,
}
THOUSANDS = [
    "1,000",
    "12,500",
    "0,125",
    " 1,000 ",
    "1,000,000",
    "1,000.5",
    "1,000.50",
    "1.000,5",
    "1.000.000",
    "1,0,0",
    "1 000",
    "1\u00a0000",
    "1\u202f000,5",
    "1'000",
    "1’000.5",
    ",125",
]
NOTHING = ["", " ", ".", ",", "abc", "1e3", "-1", "+1", "1.", "0x10", "1 SOL", "0.0000000001", "1000000000"]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "numbers.mjs").write_bytes(NUMBERS.read_bytes())
    path = folder / "read.mjs"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def read(script: Path, typed: list[str]) -> dict[str, tuple[str | None, str]]:
    """Return the units and the sentence of each text."""
    command = [find_node(), str(script), json.dumps(typed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {text: (units, why) for text, (units, why) in zip(typed, json.loads(done.stdout), strict=True)}


def test_an_amount_with_one_reading_is_read_exactly(script: Path) -> None:
    found = read(script, list(AMOUNTS))
    assert {text: int(units or -1) for text, (units, _) in found.items()} == AMOUNTS


def test_an_amount_that_may_separate_thousands_is_refused_with_how_to_write_it(script: Path) -> None:
    for text, (units, why) in read(script, THOUSANDS).items():
        assert units is None, text
        assert why.startswith("Write the amount without separators of thousands"), text


def test_what_is_no_amount_is_refused_with_the_sentence_of_its_field(script: Path) -> None:
    for text, (units, why) in read(script, NOTHING).items():
        assert (units, why) == (None, "no amount"), text
