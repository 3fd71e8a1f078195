"""Name every exception of msgspec's JSON decoder, for each place that decodes what others send."""

from __future__ import annotations

from typing import Final

import msgspec

JSON_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Malformed JSON or another shape, text that is not UTF-8, arrays and objects that are nested too deeply."""
