"""Write amounts for clients as text or percentages: prices, SOL and shares, ratios."""

from __future__ import annotations

from zmart.market.types import PRICE_ONE

_UNIT = 1_000_000_000


def price_text(price_e9: int) -> str:
    """Write a price in units of 1e-9 as a number from 0 to 1 with nine decimal places."""
    return f"{price_e9 // PRICE_ONE}.{price_e9 % PRICE_ONE:09d}"


def units_text(value: int) -> str:
    """Write lamports as SOL, or units of 1e-9 as shares: exactly, with nine decimal places."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), _UNIT)
    return f"{sign}{whole}.{rest:09d}"


def sol_text(lamports: int) -> str:
    """Write an amount that was paid as SOL with its unit, rounded to hundredths: "1.23 SOL".

    An amount below 0.01 SOL is written exactly, with nine decimal places.
    """
    cent = _UNIT // 100
    if 0 < lamports < cent:
        return f"{units_text(lamports)} SOL"
    whole, cents = divmod((lamports + cent // 2) // cent, 100)
    return f"{whole}.{cents:02d} SOL"


def short_wallet(wallet: str) -> str:
    """Return the first and last four characters of an address, as lists show it."""
    return f"{wallet[:4]}...{wallet[-4:]}"


def amount_text(value: int) -> str:
    """Write lamports as SOL, or units of 1e-9 as shares, for a sentence: exactly, without trailing zeros."""
    return units_text(value).rstrip("0").rstrip(".")


def held_text(shares: int) -> str:
    """Write the shares that a wallet holds for a sentence, rounded down to hundredths.

    An amount below 0.01 shares is written exactly.
    """
    cent = _UNIT // 100
    return amount_text(shares if shares < cent else shares // cent * cent)


def ratio_text(numerator: int, denominator: int) -> str:
    """Write numerator / denominator with nine decimal places, rounded towards zero.

    If the denominator is 0, it writes 0.
    """
    if denominator == 0:
        return units_text(0)
    return units_text(abs(numerator) * _UNIT // denominator * (-1 if numerator < 0 else 1))


def percent(part: int, whole: int) -> float:
    """Return `part` in percent of `whole`, rounded to two decimal places; 0 if `whole` is 0."""
    return round(part * 100 / whole, 2) if whole else 0.0


def price_percent(price_e9: int) -> float:
    """Return a price in units of 1e-9 in percent, as the float nearest to its seven decimals."""
    return round(price_e9 * 100 / PRICE_ONE, 7)
