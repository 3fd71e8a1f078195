"""Forged deliveries: what a sender who knows the webhook's secret may send instead of a real transaction.

Each forgery keeps the signature of the real transaction.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

import base58
import msgspec

from kit.chain_story import PROGRAM, Tx, key
from zmart.market import events as e

Forgery = Callable[[Tx, list[Tx], random.Random], dict]
"""A function of (transaction, all transactions, random source); returns an element of a delivery as JSON values."""

EVIL = key(66)


def honest(tx: Tx) -> dict:
    return msgspec.json.decode(tx.raw())


def logged(event) -> str:
    return "Program data: " + base64.b64encode(PROGRAM.events.encode(event)).decode()


def _around(lines: list[str]) -> list[str]:
    return [f"Program {PROGRAM.address} invoke [1]", *lines, f"Program {PROGRAM.address} success"]


def forged_logs(tx, txs, chance):
    """Replace the log by an event of another transaction."""
    other = chance.choice([event for one in txs if one is not tx for event in one.events])
    value = honest(tx)
    value["meta"]["logMessages"] = _around([logged(other)]) * len(
        value["transaction"]["message"]["instructions"]
    )
    return value


def one_vote_made_forty(tx, txs, chance):
    """Case A2: add proposal votes of forty wallets to the log of one transaction."""
    vote = next(event for one in txs for event in one.events if isinstance(event, e.ProposalVoteSubmitted))
    value = honest(tx)
    votes = [logged(msgspec.structs.replace(vote, user=key(7_000 + n), vote=True)) for n in range(40)]
    value["meta"]["logMessages"] = [
        *value["meta"]["logMessages"][:1],
        *votes,
        *value["meta"]["logMessages"][1:],
    ]
    return value


def dropped_events(tx, txs, chance):
    """Keep the instructions, but remove every event from the log."""
    value = honest(tx)
    value["meta"]["logMessages"] = _around([]) * len(value["transaction"]["message"]["instructions"])
    return value


def dropped_instructions(tx, txs, chance):
    """Case A2: remove all instructions and logs, so that the transaction looks like one without the program."""
    value = honest(tx)
    value["transaction"]["message"]["instructions"] = []
    value["meta"]["logMessages"] = []
    return value


def foreign_program(tx, txs, chance):
    """Replace the program's address by another one throughout the transaction."""
    return msgspec.json.decode(tx.raw().replace(PROGRAM.address.encode(), EVIL.encode()))


def dropped_logs(tx, txs, chance):
    return honest(tx) | {"meta": honest(tx)["meta"] | {"logMessages": chance.choice([[], None])}}


def cut_log(tx, txs, chance):
    value = honest(tx)
    lines = value["meta"]["logMessages"]
    value["meta"]["logMessages"] = [
        *lines[: chance.randrange(len(lines))],
        *chance.choice([[], ["Log truncated"]]),
    ]
    return value


def added_inner_instruction(tx, txs, chance):
    """Add an inner instruction with an event, as emit_cpi! makes it, that the transaction did not contain."""
    value = honest(tx)
    keys = value["transaction"]["message"]["accountKeys"]
    keys.append(PROGRAM.addresses.event_authority())
    event = chance.choice([event for one in txs for event in one.events])
    data = bytes.fromhex("e445a52e51cb9a1d") + PROGRAM.events.encode(event)
    call = {"programIdIndex": 1, "accounts": [len(keys) - 1], "data": base58.b58encode(data).decode()}
    value["meta"]["innerInstructions"] = [{"index": 0, "instructions": [call | {"stackHeight": 2}]}]
    lines = value["meta"]["logMessages"]
    inner = [f"Program {PROGRAM.address} invoke [2]", f"Program {PROGRAM.address} success"]
    value["meta"]["logMessages"] = [lines[0], *inner, *lines[1:]]
    return value


def failed(tx, txs, chance):
    value = honest(tx)
    value["meta"]["err"] = {"InstructionError": [0, {"Custom": 6007}]}
    return value


def other_version(tx, txs, chance):
    return honest(tx) | {"version": chance.choice(["legacy", 1, 99, "x", 10**30])}


def other_slot(tx, txs, chance):
    return honest(tx) | {"slot": chance.choice([1, tx.slot - 1, tx.slot + 3, tx.slot + 10_000, 2**63 - 1])}


def other_arguments(tx, txs, chance):
    """Replace the data and the accounts of the first instruction."""
    value = honest(tx)
    call = value["transaction"]["message"]["instructions"][0]
    value["transaction"]["message"]["instructions"][0] = call | {
        "data": "2VJ5vyhTnCcB9Mcd5",
        "accounts": [0, 1],
    }
    return value


def unfoldable(tx, txs, chance):
    """Add a MarketCreated event with a timestamp (2**62) that no row can hold."""
    created = e.MarketCreated(
        market_id="ee" * 32, creator=key(4), b_parameter=10**10, state=0, timestamp=2**62
    )
    value = honest(tx)
    value["meta"]["logMessages"] = [
        *value["meta"]["logMessages"][:1],
        logged(created),
        *value["meta"]["logMessages"][1:],
    ]
    return value


def garbage(tx, txs, chance):
    return chance.choice(
        [
            honest(tx) | {"indexWithinBlock": 2**40},
            honest(tx) | {"meta": {"err": None, "logMessages": 7}},
            honest(tx) | {"transaction": {"signatures": [tx.signature], "message": {}}},
        ]
    )


FORGERIES: tuple[Forgery, ...] = (
    forged_logs,
    one_vote_made_forty,
    dropped_events,
    dropped_instructions,
    foreign_program,
    dropped_logs,
    cut_log,
    added_inner_instruction,
    failed,
    other_version,
    other_slot,
    other_arguments,
    unfoldable,
    garbage,
)


def invented(txs: list[Tx], chance: random.Random) -> dict:
    """Return a transaction with a random signature, which no node knows, and the events of a real one."""
    other = chance.choice([tx for tx in txs if tx.events])
    signature = base58.b58encode(chance.randbytes(64)).decode()
    return honest(Tx(signature, other.slot, other.index + 1, other.events))
