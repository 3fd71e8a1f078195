"""Compute the fees of a trade and split them as the program does."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from zmart.errors import PricingError
from zmart.market.pricing.constants import fits_u64
from zmart.market.types import BPS_ONE, Bps, Lamports


class TradeFees(Struct, frozen=True):
    """Hold the fees of one trade in lamports.

    A buyer pays them on top of the cost; a seller gets the gross proceeds less the fees.
    """

    protocol: Lamports
    resolver: Lamports
    lp: Lamports

    @property
    def total(self) -> Lamports:
        """Return the sum of the three fees."""
        return Lamports(self.protocol + self.resolver + self.lp)


class FeeRates(Protocol):
    """Read the fee rates of GlobalConfig, in basis points, under their names there."""

    @property
    def protocol_fee_bps(self) -> Bps:
        """Return the rate of the protocol's fee."""

    @property
    def resolver_reward_bps(self) -> Bps:
        """Return the rate of the resolver's reward."""

    @property
    def liquidity_provider_fee_bps(self) -> Bps:
        """Return the rate of the liquidity provider's fee."""


class FeeSchedule(Struct, frozen=True):
    """Hold the fee rates of GlobalConfig.

    The constructor raises PricingError InvalidFeeStructure if a rate is negative or their sum exceeds 10,000 basis
    points.
    """

    protocol_bps: Bps
    resolver_bps: Bps
    lp_bps: Bps

    @classmethod
    def of_config(cls, config: FeeRates) -> FeeSchedule:
        """Build the schedule from GlobalConfig, read as an account, as a row or as a fold."""
        return cls(
            protocol_bps=config.protocol_fee_bps,
            resolver_bps=config.resolver_reward_bps,
            lp_bps=config.liquidity_provider_fee_bps,
        )

    def __post_init__(self) -> None:
        if min(self.protocol_bps, self.resolver_bps, self.lp_bps) < 0 or self.total_bps > BPS_ONE:
            raise PricingError("InvalidFeeStructure", f"fees must be 0 to {BPS_ONE} bps together: {self}")

    @property
    def total_bps(self) -> Bps:
        """Return the sum of the three rates."""
        return Bps(self.protocol_bps + self.resolver_bps + self.lp_bps)

    def split(self, amount_lamports: int) -> TradeFees:
        """Return the fees of an amount of lamports.

        The total is rounded down first, then the protocol's and the resolver's part of it; the liquidity provider gets
        the rest. Raises PricingError OverflowError if amount * total_bps does not fit u64, as the program does.
        """
        total_bps = self.total_bps
        if total_bps == 0:
            return TradeFees(Lamports(0), Lamports(0), Lamports(0))
        total = fits_u64(amount_lamports * total_bps, "amount * fee bps") // BPS_ONE
        protocol = total * self.protocol_bps // total_bps
        resolver = total * self.resolver_bps // total_bps
        return TradeFees(Lamports(protocol), Lamports(resolver), Lamports(total - protocol - resolver))
