"""Write amounts for clients: prices, units of 1e-9, ratios and percentages. Exact integers travel beside them."""

from __future__ import annotations

from zmart.market.types import PRICE_ONE

_UNIT = 1_000_000_000


def price_text(price_e9: int) -> str:
    """Write a price, from 0 to 1, with nine places."""
    return f"{price_e9 // PRICE_ONE}.{price_e9 % PRICE_ONE:09d}"


def units_text(value: int) -> str:
    """Write lamports as SOL, or units of 1e-9 as shares, exact, with nine places."""
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), _UNIT)
    return f"{sign}{whole}.{rest:09d}"


def sol_text(lamports: int) -> str:
    """Write a paid amount as SOL with its unit: rounded to hundredths, "1.23 SOL", and exact below one."""
    cent = _UNIT // 100
    if 0 < lamports < cent:
        return f"{units_text(lamports)} SOL"
    whole, cents = divmod((lamports + cent // 2) // cent, 100)
    return f"{whole}.{cents:02d} SOL"


def short_wallet(wallet: str) -> str:
    """Return the first and last four characters of an address, as lists show it."""
    return f"{wallet[:4]}...{wallet[-4:]}"


def amount_text(value: int) -> str:
    """Write units of 1e-9 for a sentence, exact, without zeros at the end."""
    return units_text(value).rstrip("0").rstrip(".")


def held_text(shares: int) -> str:
    """Write the shares that a wallet holds for a sentence: never more than it has, to hundredths, exact below one."""
    cent = _UNIT // 100
    return amount_text(shares if shares < cent else shares // cent * cent)


def ratio_text(numerator: int, denominator: int) -> str:
    """Write numerator / denominator with nine places, rounded towards zero; 0 if there is no denominator."""
    if denominator == 0:
        return units_text(0)
    return units_text(abs(numerator) * _UNIT // denominator * (-1 if numerator < 0 else 1))


def percent(part: int, whole: int) -> float:
    """Return `part` in percent of `whole`, with two places; 0 if there is no whole."""
    return round(part * 100 / whole, 2) if whole else 0.0


def price_percent(price_e9: int) -> float:
    """Return a price in percent, exact."""
    return round(price_e9 * 100 / PRICE_ONE, 7)
