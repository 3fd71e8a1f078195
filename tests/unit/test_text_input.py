"""Which characters of a user's text are accepted, and in which form the text is stored (W28)."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.errors import Invalid
from zmart.market.text_input import accept_text, pattern_of, search_text

ANY_TEXT = st.text(max_size=60)
DECEPTIVE = [
    *map(chr, [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)]),
    *map(chr, [0xD800, 0xDC80, 0xDFFF]),
    *map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)]),
    *map(chr, [*range(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF]),
]
SPACES = list(map(chr, [0x20, 0xA0, 0x2003, 0x3000]))
INVISIBLE = list(map(chr, [0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x2060, 0x2800,
                           0x3164, 0xFE0F, 0xFEFF, 0xFFA0, 0x13430, 0x13441, 0x1D173, 0xE0020, 0xE0100]))  # fmt: skip
MARKS = list(map(chr, [0x301, 0x1AB0, 0x1DC0, 0x20DD, 0xFE20]))


def number(character: str) -> str:
    return f"U+{ord(character):04X}"


@pytest.mark.parametrize("character", DECEPTIVE, ids=number)
def test_a_character_that_controls_reorders_or_hides_is_refused_by_its_name(character: str) -> None:
    """W28, A16: a text with a control, reordering or hiding character is refused by the character's name."""
    with pytest.raises(
        Invalid, match=rf"note holds .* \({re.escape(number(character))}\) as its character 4"
    ):
        accept_text("note", f"abc{character}def", (1, 100))
    assert search_text(f"abc{character}def") == "abc def"


@pytest.mark.parametrize("character", SPACES + INVISIBLE + MARKS, ids=number)
def test_characters_that_nobody_sees_are_no_text(character: str) -> None:
    """W28: a text of spaces, invisible characters or combining marks counts as empty."""
    for text in (character, character * 10, f" {character}\t{character} "):
        with pytest.raises(Invalid, match="must have 1 to 100 characters"):
            accept_text("note", text, (1, 100))


@pytest.mark.parametrize("character", INVISIBLE + MARKS, ids=number)
def test_they_do_not_make_a_short_text_longer(character: str) -> None:
    """W28: invisible characters and combining marks do not count towards the minimum length of a text."""
    with pytest.raises(Invalid, match="must have 10 to 200 characters"):
        accept_text("question", f"a{character * 12}b", (10, 200))


@pytest.mark.parametrize("character", INVISIBLE + MARKS, ids=number)
def test_where_no_text_is_needed_it_is_none_or_one_that_is_seen(character: str) -> None:
    """W28: an optional text may be empty, but not only of characters that nobody sees, such as zero-width spaces."""
    assert accept_text("bio", " \t\u3000", (0, 50)) == ""
    with pytest.raises(Invalid, match="only characters that nobody sees"):
        accept_text("bio", f" {character * 3} ", (0, 50))
    assert not re.fullmatch(pattern_of(0), "\u200b" * 3)


def test_every_format_character_of_unicode_is_refused_or_not_counted() -> None:
    """Of all control, format and space characters in Python's Unicode tables, only the visible ones count as text."""
    visible = {
        *range(0x600, 0x606),
        0x6DD,
        0x70F,
        0x890,
        0x891,
        0x8E2,
        0x110BD,
        0x110CD,
    }
    for point in range(0x110000):
        category = unicodedata.category(chr(point))
        if category in ("Cf", "Cc", "Zs", "Zl", "Zp") and point not in visible:
            with pytest.raises(Invalid):
                accept_text("note", chr(point), (1, 10))


def test_emoji_and_scripts_that_join_their_letters_stay_as_they_are() -> None:
    for text in (
        "👩\u200d🚀 ☀\ufe0f",
        "می\u200cخواهم",
        "🏴\U000e0067\U000e0062\U000e007f",
        "שלום \u200fabc",
        "नमस्ते",
    ):
        assert accept_text("content", text, (1, 100)) == text


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("a" + "\n" * 998 + "b", "a\n\nb"),
        ("a\n \t\n\u3000\n\u200b\nb", "a\n\nb"),
        ("a\r\n\r\n\r\n  b", "a\n\n  b"),
        ("a\u2028\u2029\u2028b", "a\n\nb"),
        ("a\nb\n\nc\n  d", "a\nb\n\nc\n  d"),
    ],
)
def test_several_empty_lines_become_one(text: str, accepted: str) -> None:
    """P20: lines that hold nothing make no text high. Paragraphs and indented lines stay as they are."""
    assert accept_text("content", text, (1, 1000)) == accepted


@pytest.mark.parametrize(
    "character", ["\u0335", "\u0301", "\u0e49", "\u064e", "\u0f90", "\u20dd"], ids=number
)
@pytest.mark.parametrize("between", ["", "\u200d", "\u200c"], ids=["", "ZWJ", "ZWNJ"])
def test_a_stack_of_marks_that_covers_other_lines_is_refused(character: str, between: str) -> None:
    """P20: the marks of any script, whatever joins them."""
    with pytest.raises(
        Invalid, match=r"more than 12 combining marks on one character, up to its character \d+:"
    ):
        accept_text("content", "x" + f"{between}{character}" * 13, (1, 1000))
    high = "x" + f"{between}{character}" * 12
    assert accept_text("content", high, (1, 1000))


@pytest.mark.parametrize(
    "text",
    [
        "नमस्ते दुनिया, क्ष्म्य और स्त्री",
        "بِسْمِ ٱللَّهِ ٱلرَّحْمَٰنِ ٱلرَّحِيمِ",
        "בְּרֵאשִׁ֖ית בָּרָ֣א אֱלֹהִ֑ים",
        "ที่นี่ ก็ น้ำ ผู้ใหญ่",
        "ཧཀྵྨླྺྼྻྂ བོད་ཡིག",
        "ក្រុម ខ្មែរ ស្ត្រី",
        "👩\u200d👩\u200d👧\u200d👦 1\ufe0f\u20e3 🏳\ufe0f\u200d🌈",
        "First.\n\nSecond:\n- one\n- two\n\n    indented",
    ],
)
def test_ordinary_texts_of_every_script_stay_as_they_are(text: str) -> None:
    assert accept_text("content", text, (1, 1000)) == unicodedata.normalize("NFC", text)


def test_vietnamese_in_decomposed_letters_is_stored_composed() -> None:
    text = "Tiếng Việt: những người Huế nói nhỏ, sửa chữa"
    assert accept_text("content", unicodedata.normalize("NFD", text), (1, 1000)) == text


def test_what_looks_the_same_is_the_same_text() -> None:
    assert accept_text("content", " cafe\u0301\r\nA\rB\t ", (1, 100)) == "café\nA\nB"
    assert accept_text("question", "one\r\n\ttwo\u2028three", (1, 100), one_line=True) == "one two three"
    assert search_text(" cafe\u0301") == "café"


@given(ANY_TEXT, st.integers(0, 12), st.booleans())
def test_any_text_is_accepted_once_and_for_all_or_refused(text: str, shortest: int, one_line: bool) -> None:
    with suppress(Invalid):
        once = accept_text("note", text, (shortest, 50), one_line=one_line)
        assert accept_text("note", once, (shortest, 50), one_line=one_line) == once
        assert unicodedata.is_normalized("NFC", once)
        assert len(once) <= 50
        assert not one_line or "\n" not in once


_UNSEEN_RANGES = [
    (0x13430, 0x13460), (0x1BCA0, 0x1BCA4), (0x1D159, 0x1D15A), (0x1D173, 0x1D17B), (0xE0000, 0xE1000),
    *((plane << 16 | 0xFFFE, plane + 1 << 16) for plane in range(1, 17)),
]  # fmt: skip
UNSEEN_BEYOND_FFFF = "".join(chr(code) for begin, end in sorted(_UNSEEN_RANGES) for code in range(begin, end))


def _marks_in(text: str) -> int:
    return sum(unicodedata.category(character) in ("Mn", "Me") for character in text)


@given(st.integers(0, 12), st.data())
def test_what_the_published_pattern_matches_is_accepted(shortest: int, data: st.DataObject) -> None:
    """Every text that the published pattern matches is accepted, if it has no hidden characters beyond U+FFFF and no
    high stack of marks.

    The pattern does not cover those.
    """
    alphabet = st.characters(codec="utf-8", exclude_characters=UNSEEN_BEYOND_FFFF)
    texts = st.from_regex(pattern_of(shortest), fullmatch=True, alphabet=alphabet)
    text = data.draw(texts.filter(lambda text: len(text) <= 200 and _marks_in(text) <= 12))
    composed = unicodedata.normalize("NFC", text)
    assert len(accept_text("note", text, (0, 1000))) <= len(composed)
    if len(composed) == len(text) and max(text, default="") <= "\uffff":
        accept_text("note", text, (shortest, 1000))
