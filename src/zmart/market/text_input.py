"""Accept text that users write, by one rule for requests and for documents on IPFS.

Accepted text is in Unicode's form NFC, and its only line ends are line feeds. Control characters are refused, and so
are characters that reorder or hide the text beside them, and stacks of combining marks that would draw over it.
Invisible characters do not count towards the least number of characters. Several empty lines become one.
"""

from __future__ import annotations

import re
import unicodedata

from zmart.errors import Invalid

_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_REORDERING = r"\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates of unicode.org/reports/tr9, which show text in another order than it has."""
_ANNOTATION = r"\ufff9-\ufffb"
_NONCHARACTER = r"\ufdd0-\ufdef\ufffe\uffff"
_NONCHARACTER_BEYOND_FFFF = "".join(
    chr((plane << 16) + end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF)
)
"""Noncharacters above U+FFFF, which Unicode reserves for a program's internal use."""
_REFUSED = _CONTROL + _REORDERING + _ANNOTATION + _NONCHARACTER
_LINE_END = r"\n\u2028\u2029"
_BLANK = r"\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_SPACE = r"\t\n\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
_MARKS = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Combining marks for any letter. Alone they are not visible text."""
_INVISIBLE_BEYOND_FFFF = (
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Invisible characters above U+FFFF; _INVISIBLE has those up to U+FFFF.

They are Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, letters and signs that are blank, and the
controls of Egyptian hieroglyphs.
"""

_refused = re.compile(rf"[{_REFUSED}{_NONCHARACTER_BEYOND_FFFF}\ud800-\udfff]")
_unpaired = re.compile(r"[\ud800-\udfff]")
_control = re.compile(f"[{_CONTROL}]")
_noncharacter = re.compile(f"[{_NONCHARACTER}{_NONCHARACTER_BEYOND_FFFF}]")
_reordering = re.compile(f"[{_REORDERING}]")
_UNSEEN = _INVISIBLE + _MARKS
_unseen = re.compile(f"[{_UNSEEN}{_INVISIBLE_BEYOND_FFFF}]")
_line_ends = re.compile(r"\r\n?")
_breaks = re.compile(r"[\t\n\u2028\u2029]+")
_empty_lines = re.compile(
    rf"[{_LINE_END}](?:[{_BLANK}{_INVISIBLE}{_INVISIBLE_BEYOND_FFFF}]*[{_LINE_END}]){{2,}}"
)
_MOST_STACKED = 12
"""Maximum number of combining marks on one character. Tibetan, which stacks most, needs ten."""
_JOINERS = "\u200c\u200d"
"""Characters after which a combining mark still stands on the character before them."""


def accept_text(field: str, text: str, chars: tuple[int, int], *, one_line: bool = False) -> str:
    """Return the accepted form of a user's text, without the white space around it.

    `chars` is the least number of visible characters, and the most of all characters. With `one_line`, tabs and line
    ends become spaces, without it several empty lines become one. Raises Invalid with the name `field`.
    """
    if (refused := _refused.search(text)) is not None:
        raise Invalid(field, f"{field} holds {_described(refused)}: leave it out.")
    accepted = nfc(_line_ends.sub("\n", text))
    if one_line:
        accepted = _breaks.sub(" ", accepted)
    accepted = _empty_lines.sub("\n\n", accepted).strip()
    shortest, longest = chars
    seen = len(_unseen.sub("", accepted).strip())
    if len(accepted) > longest or seen < shortest:
        raise Invalid(field, f"{field} must have {shortest} to {longest} characters.")
    if accepted and not seen:
        raise Invalid(
            field, f"{field} holds only characters that nobody sees: write some that are seen, or none."
        )
    if (at := _first_beyond_stack(accepted)) is not None:
        raise Invalid(
            field,
            f"{field} has more than {_MOST_STACKED} combining marks on one character, up to its character {at}: "
            "leave some out.",
        )
    return accepted


def _first_beyond_stack(text: str) -> int | None:
    """Return the number, from 1, of the first combining mark that makes a stack too high; None if none does."""
    if text.isascii():
        return None
    stacked = 0
    for number, character in enumerate(text, 1):
        if unicodedata.category(character) in ("Mn", "Me"):
            stacked += 1
            if stacked > _MOST_STACKED:
                return number
        elif character not in _JOINERS:
            stacked = 0
    return None


def search_text(text: str) -> str:
    """Return the form in which a search looks for a user's text.

    Characters that accepted text cannot hold become spaces.
    """
    return nfc(_refused.sub(" ", text)).strip()


def one_line(text: str, longest: int) -> str:
    """Return text of another program as one line of printable characters, for our own messages and tables.

    Text of more than `longest` characters is cut there and ends in an ellipsis.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[:longest] + "…"


def nfc(text: str) -> str:
    """Return the text in Unicode's form NFC, in which canonically equivalent texts are equal."""
    return unicodedata.normalize("NFC", text)


def pattern_of(shortest: int) -> str:
    """Return the rule of `accept_text` as a regular expression, for at least `shortest` visible characters.

    Python and ECMAScript read it alike, the latter also without its flag u. So it does not name the characters above
    U+FFFF. It bounds no length from above, and no stack of combining marks.
    """
    any_text = f"[^{_REFUSED}]*"
    seen = rf"[{_SPACE}{_UNSEEN}]*[^{_SPACE}{_UNSEEN}{_REFUSED}]"
    return rf"^({seen}){{{shortest}}}{any_text}$" if shortest else rf"^([{_SPACE}]*|{seen}{any_text})$"


def _described(refused: re.Match[str]) -> str:
    character = refused[0]
    what = "a hidden annotation"
    if _control.match(character):
        what = "a control character"
    elif _unpaired.match(character):
        what = "a byte that is no UTF-8, or half of a surrogate pair"
    elif _noncharacter.match(character):
        what = "a code that is no character"
    elif _reordering.match(character):
        what = "a character that reorders text"
    return f"{what} (U+{ord(character):04X}) as its character {refused.start() + 1}"
