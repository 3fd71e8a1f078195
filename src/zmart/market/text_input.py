"""Accept text that people wrote elsewhere, by one rule for requests and for documents of IPFS.

Accepted text is in Unicode's form NFC, with line feeds as its only line ends. Control characters, and characters that
reorder or hide what stands beside them, are refused; characters that nobody sees do not count as characters.
"""

from __future__ import annotations

import re
import unicodedata

from zmart.errors import Invalid

_CONTROL = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_REORDERING = r"\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates of unicode.org/reports/tr9: text shows in another order than it has."""
_ANNOTATION = r"\ufff9-\ufffb"
_NONCHARACTER = r"\ufdd0-\ufdef\ufffe\uffff"
_NONCHARACTER_BEYOND_FFFF = "".join(
    chr((plane << 16) + end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF)
)
"""For a program's own use: fonts show nothing of them."""
_REFUSED = _CONTROL + _REORDERING + _ANNOTATION + _NONCHARACTER
_SPACE = r"\t\n\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
)
_MARKS = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Accents of any letter: without one they are no text."""
_INVISIBLE_BEYOND_FFFF = (
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, the letters and signs that are blank, and the
controls of Egyptian signs."""

_refused = re.compile(rf"[{_REFUSED}{_NONCHARACTER_BEYOND_FFFF}\ud800-\udfff]")
_unpaired = re.compile(r"[\ud800-\udfff]")
_control = re.compile(f"[{_CONTROL}]")
_noncharacter = re.compile(f"[{_NONCHARACTER}{_NONCHARACTER_BEYOND_FFFF}]")
_reordering = re.compile(f"[{_REORDERING}]")
_UNSEEN = _INVISIBLE + _MARKS
_unseen = re.compile(f"[{_UNSEEN}{_INVISIBLE_BEYOND_FFFF}]")
_line_ends = re.compile(r"\r\n?")
_breaks = re.compile(r"[\t\n\u2028\u2029]+")


def accept_text(field: str, text: str, chars: tuple[int, int], *, one_line: bool = False) -> str:
    """Return the accepted form of `text`, without the white space around it; with `one_line`, tabs and line ends become
    spaces. `chars`: the least number of characters that are seen, and the most of all. Raises Invalid."""
    if (refused := _refused.search(text)) is not None:
        raise Invalid(field, f"{field} holds {_described(refused)}: leave it out.")
    accepted = nfc(_line_ends.sub("\n", text))
    if one_line:
        accepted = _breaks.sub(" ", accepted)
    accepted = accepted.strip()
    shortest, longest = chars
    seen = len(_unseen.sub("", accepted).strip())
    if len(accepted) > longest or seen < shortest:
        raise Invalid(field, f"{field} must have {shortest} to {longest} characters.")
    if accepted and not seen:
        raise Invalid(
            field, f"{field} holds only characters that nobody sees: write some that are seen, or none."
        )
    return accepted


def search_text(text: str) -> str:
    """Return what a search looks for in accepted text; what such text cannot hold is left out."""
    return nfc(_refused.sub(" ", text)).strip()


def one_line(text: str, longest: int) -> str:
    """Return what another program said, for our own messages and tables: one line of printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[:longest] + "…"


def nfc(text: str) -> str:
    """Return the form NFC, in which text that looks the same is the same."""
    return unicodedata.normalize("NFC", text)


def pattern_of(shortest: int) -> str:
    """Return the rule of `accept_text` as a pattern that Python and ECMAScript read alike, also without its flag u: the
    characters beyond U+FFFF are not in it."""
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
