"""Verify receipts against a copy of the log: each receipt's entry is at its index, after the same earlier entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from zmart.bounded_files import read_at_most
from zmart.errors import Invalid
from zmart.market.json_input import JSON_ERRORS
from zmart.market.types import Address, MarketId, VoteKind, Wallet
from zmart.market.vote_entries import parse_entry
from zmart.proofs import merkle
from zmart.proofs.findings import ProofFinding, Verdict, broken, check, note
from zmart.proofs.receipts import VoteReceipt, receipt_holds

MAX_RECEIPT_BYTES = 1_000_000
_Shape = TypeVar("_Shape")


class _Answer(msgspec.Struct):
    """The API's response to a vote, of which only the receipt is read."""

    receipt: VoteReceipt


class ReceiptsReport(msgspec.Struct, frozen=True):
    """The findings about a set of receipts; the report holds when no check failed."""

    receipts: int
    findings: list[ProofFinding]

    @property
    def holds(self) -> bool:
        """Whether no check failed."""
        return all(finding.verdict is not Verdict.BROKEN for finding in self.findings)

    @property
    def title(self) -> str:
        """What was verified, in one line of text."""
        return f"{self.receipts} receipt(s) against the log"

    @property
    def verdict(self) -> str:
        """The result of the verification in a sentence."""
        return "The receipts hold." if self.holds else "THE LOG IS NOT WHAT THE RECEIPTS PROMISED."


def read_receipt(path: Path) -> VoteReceipt:
    """Read a receipt from a file that contains it alone or as a part of the API's response. Raises Invalid."""
    try:
        raw = read_at_most(path, MAX_RECEIPT_BYTES)
    except OSError as problem:
        raise Invalid("receipt", f"{path} cannot be read ({problem.strerror}).") from None
    answer, bare = _decoded(raw, _Answer), _decoded(raw, VoteReceipt)
    receipt = bare if answer is None else answer.receipt
    if receipt is None:
        raise Invalid("receipt", f"{path} holds no receipt of a vote.")
    return receipt


def _decoded(raw: bytes, shape: type[_Shape]) -> _Shape | None:
    try:
        return msgspec.json.decode(raw, type=shape)
    except JSON_ERRORS:
        return None


def verify_receipts(
    receipts: Sequence[VoteReceipt],
    log: Sequence[bytes],
    program: Address,
    market_id: MarketId,
    authority: Wallet,
    rules: Mapping[VoteKind, str] | None = None,
) -> list[ProofFinding]:
    """Verify every receipt against the log, and return the findings.

    `authority` is the backend authority that GlobalConfig names. `rules` holds, by kind of vote, the rule that the
    tally on chain names.
    """
    leaves = [merkle.leaf_hash(entry) for entry in log]
    roots = merkle.roots_at(leaves, {receipt.tree_size for receipt in receipts})
    positions = {leaf.hex(): position for position, leaf in enumerate(leaves)}
    findings: list[ProofFinding] = []
    for receipt in receipts:
        if (receipt.program, receipt.market_id) != (program, market_id):
            findings.append(
                broken(f"The receipt of entry {receipt.index} is about another market or program.")
            )
            continue
        findings.append(_signature(receipt, authority))
        findings.extend(_entry(receipt, log, positions))
        findings.append(_beginning(receipt, len(log), roots))
        findings.extend(_rule(receipt, log, rules or {}))
    return findings


def _rule(
    receipt: VoteReceipt, log: Sequence[bytes], rules: Mapping[VoteKind, str]
) -> Iterator[ProofFinding]:
    """Check that a receipt names the rule by which the votes were counted.

    The rule of a vote is fixed when the vote begins, so a receipt with a different rule proves a change.
    """
    try:
        kind = parse_entry(log[receipt.index]).statement.kind
    except (Invalid, IndexError):
        return
    if (counted_by := rules.get(kind)) is not None:
        yield check(
            receipt.rule == counted_by,
            f"The votes were counted by the rule of the receipt, {receipt.rule}.",
            f"The receipt of entry {receipt.index} was given under the rule {receipt.rule}; the votes were counted by "
            f"{counted_by}.",
        )


def _signature(receipt: VoteReceipt, authority: Wallet) -> ProofFinding:
    if receipt.signature is None:
        return note(f"The receipt of entry {receipt.index} is not signed: it proves nothing by itself.")
    return check(
        receipt_holds(receipt, authority),
        f"The receipt of entry {receipt.index} is signed by the backend authority {authority}.",
        f"The receipt of entry {receipt.index} is not signed by the backend authority {authority}.",
    )


def _entry(
    receipt: VoteReceipt, log: Sequence[bytes], positions: Mapping[str, int]
) -> Iterator[ProofFinding]:
    position, short = receipt.index, f"{receipt.leaf_hash[:16]}..."
    where = positions.get(receipt.leaf_hash)
    if where == position:
        yield check(True, f"Entry {position} is the vote of its receipt ({_vote_of(log[position])}).", "")
    elif where is not None:
        yield broken(
            f"Reordered: the vote of the receipt for entry {position} ({_vote_of(log[where])}) stands at {where} now."
        )
    elif position >= len(log):
        yield broken(
            f"Removed: the log ends before entry {position} ({short}), for which there is a receipt."
        )
    else:
        yield broken(
            f"Removed or changed: entry {position} ({short}) of the receipt is nowhere in the log; at its place stands "
            f"{_vote_of(log[position])}."
        )


def _beginning(receipt: VoteReceipt, size: int, roots: Mapping[int, bytes]) -> ProofFinding:
    if receipt.tree_size > size:
        return broken(
            f"Cut: the log has {size} entries; when the receipt of entry {receipt.index} was given it had "
            f"{receipt.tree_size}."
        )
    root = roots[receipt.tree_size].hex()
    return check(
        root == receipt.root,
        f"The first {receipt.tree_size} entries are those that its receipt saw.",
        f"Rewritten: the first {receipt.tree_size} entries hash to {root[:16]}..., but when the receipt of entry "
        f"{receipt.index} was given they hashed to {receipt.root[:16]}...: something up to there was changed.",
    )


def _vote_of(raw: bytes) -> str:
    try:
        statement = parse_entry(raw).statement
    except Invalid:
        return "something that is no vote"
    return f"{statement.choice} of {statement.wallet}"
