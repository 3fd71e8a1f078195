"""Convert outcomes and choices: words in the database ('yes', 'invalid', 'for'), booleans in the program and the API.

A final outcome of None is INVALID in the state FINALIZED, and undecided in every other.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTCOMES: Mapping[bool | None, str | None] = {True: "yes", False: "no", None: None}
CHOICES: Mapping[bool, str] = {True: "for", False: "against"}
INVALID = "invalid"

_OUTCOME_OF: Mapping[object, bool | None] = {"yes": True, "no": False, INVALID: None, None: None}


def outcome_as_boolean(column: str) -> str:
    """Return the SQL of a column's outcome as a boolean; NULL where there is none, a final 'invalid' too."""
    return f"CASE {column} WHEN 'yes' THEN true WHEN 'no' THEN false END"


def outcome_word(outcome: object) -> str | None:
    """Return the word of a column for an outcome, which may be None."""
    assert outcome is None or isinstance(outcome, bool)
    return OUTCOMES[outcome]


def choice_word(choice: object) -> str:
    """Return the word of a column for a vote: True is 'for'."""
    assert isinstance(choice, bool)
    return CHOICES[choice]


def final_word(is_final: bool, outcome: bool | None) -> str | None:
    """Return the word of `markets.final_outcome`; None while the outcome is not final."""
    return (OUTCOMES[outcome] or INVALID) if is_final else None


def outcome_of(word: object) -> bool | None:
    """Return the outcome of a column's word; None for no outcome and for 'invalid'."""
    return _OUTCOME_OF[word]


def choice_of(word: object) -> bool:
    """Return whether a column's word means a vote for (like, agree)."""
    return word == CHOICES[True]
