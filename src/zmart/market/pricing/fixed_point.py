"""Compute exp and ln as programs/zmart_core/math_fixed.c does, bit for bit.

Qn means a value times 2^n. docs/pricing.md derives the error bounds on which the model `reference` relies.
"""

from __future__ import annotations

from typing import Final

ONE_Q58: Final = 1 << 58
ONE_Q63: Final = 1 << 63
_LOG2E_Q63: Final = 0xB8AA3B295C17F0BB
_LN2_Q64: Final = 0xB17217F7D1CF79AC

# 2^(-i/16) to the nearest. The first, 1, does not fit 64 bits: it is 0 here and never read.
_EXP2_Q64: Final = (
    0,
    0xF5257D152486CC2C, 0xEAC0C6E7DD24392F, 0xE0CCDEEC2A94E111, 0xD744FCCAD69D6AF4, 0xCE248C151F8480E4,
    0xC5672A115506DADD, 0xBD08A39F580C36BF, 0xB504F333F9DE6484, 0xAD583EEA42A14AC6, 0xA5FED6A9B15138EA,
    0x9EF5326091A111AE, 0x9837F0518DB8A96F, 0x91C3D373AB11C336, 0x8B95C1E3EA8BD6E7, 0x85AAC367CC487B15,
)  # fmt: skip

# ln(1 + i/16), to the nearest.
_LN_Q62: Final = (
    0x0,
    0x3E14618022C54CC, 0x789C1DB8ABCB97A, 0xAFF983853C9E9E4, 0xE47FBE3CD4D10D6,
    0x11675CABABA60E04, 0x14618BC21C5EC27D, 0x1739D7F6BBD0069D, 0x19F323ECBF984BF3,
    0x1C8FF7C79A9A21AC, 0x1F128F5FAF06ECB3, 0x217CE5C84A55056D, 0x23D0BEBCE081A07C,
    0x260FAE669E217C3F, 0x283B1FD08CE55CC9, 0x2A545A4CB78B55DD, 0x2C5C85FDF473DE6B,
)  # fmt: skip


def ratio_q58(numerator: int, denominator: int) -> int:
    """Return floor(2^58 * numerator / denominator)."""
    return (numerator << 58) // denominator


def exp_neg(x_q58: int) -> int:
    """Return exp(-x) in Q58 for x in Q58.

    The result is at most 1.2 units of the last place (ulp) low and 0.2 high. It never grows with x, and is exactly 1
    for x = 0.
    """
    power_q121 = x_q58 * _LOG2E_Q63
    halvings = power_q121 >> 121
    if halvings > 58:
        return 0
    fraction_q64 = (power_q121 >> 57) & ((1 << 64) - 1)
    sixteenth = fraction_q64 >> 60
    u_q64 = ((fraction_q64 & ((1 << 60) - 1)) * _LN2_Q64) >> 64
    e_q63 = ONE_Q63
    for n in range(9, 0, -1):
        e_q63 = ONE_Q63 - ((u_q64 * e_q63) >> 64) // n
    if sixteenth:
        e_q63 = (e_q63 * _EXP2_Q64[sixteenth]) >> 64
    return e_q63 >> (5 + halvings)


def ln_1p(e_q58: int) -> int:
    """Return ln(1 + e) in Q62 for e in Q58, 0 <= e <= 1.

    The result is at most 2 units of the last place (ulp) low and 0.5 high. It never falls as e grows. It is ln c + 2
    atanh(s), where z = 1 + e, c is the largest multiple of 1/16 up to z, and s = (z - c) / (z + c) < 1/32.
    """
    sixteenth = e_q58 >> 54
    c_q58, z_q58 = ONE_Q58 + (sixteenth << 54), ONE_Q58 + e_q58
    s_q64 = ((z_q58 - c_q58) << 64) // (z_q58 + c_q58)
    square_q64 = (s_q64 * s_q64) >> 64
    series_q63 = ONE_Q63 // 11
    for odd in range(9, 0, -2):
        series_q63 = ONE_Q63 // odd + ((square_q64 * series_q63) >> 64)
    return _LN_Q62[sixteenth] + ((s_q64 * series_q63) >> 64)
