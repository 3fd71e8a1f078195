"""Convert outcomes and choices: words in the database ('yes', 'invalid', 'for'), booleans in the program and the API.

As a boolean, True is YES, and a final outcome of None means INVALID in the state FINALIZED, undecided in any other.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTCOMES: Mapping[bool | None, str | None] = {True: "yes", False: "no", None: None}
CHOICES: Mapping[bool, str] = {True: "for", False: "against"}
INVALID = "invalid"

_OUTCOME_OF: Mapping[object, bool | None] = {"yes": True, "no": False, INVALID: None, None: None}


def outcome_as_boolean(column: str) -> str:
    """Return the SQL expression that reads an outcome column as a boolean; NULL for no outcome and for 'invalid'."""
    return f"CASE {column} WHEN 'yes' THEN true WHEN 'no' THEN false END"


def outcome_word(outcome: object) -> str | None:
    """Return the word that a column holds for an outcome, 'yes' or 'no'; None for None."""
    assert outcome is None or isinstance(outcome, bool)
    return OUTCOMES[outcome]


def choice_word(choice: object) -> str:
    """Return the word that a column holds for a vote: 'for' for True, 'against' for False."""
    assert isinstance(choice, bool)
    return CHOICES[choice]


def final_word(is_final: bool, outcome: bool | None) -> str | None:
    """Return the word for `markets.final_outcome`: 'invalid' for a final outcome of None; None if it is not final."""
    return (OUTCOMES[outcome] or INVALID) if is_final else None


def outcome_of(word: object) -> bool | None:
    """Return the outcome for the word in a column; None for no word and for 'invalid'."""
    return _OUTCOME_OF[word]


def choice_of(word: object) -> bool:
    """Return True if the word in a column is 'for' (like, agree), False if it is 'against'."""
    return word == CHOICES[True]
