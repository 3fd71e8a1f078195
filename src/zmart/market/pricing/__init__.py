"""Price trades by LMSR, with one interface for two programs.

The model `v069` mirrors the deployed program, `reference` the program of this repository.
"""

from __future__ import annotations

from typing import Literal, assert_never

from zmart.market.pricing.fees import FeeSchedule, TradeFees
from zmart.market.pricing.model import BuyQuote, PricedShares, PricingModel, Quantities, SellQuote
from zmart.market.pricing.reference import ReferenceModel
from zmart.market.pricing.v069 import V069Model

PricingModelName = Literal["v069", "reference"]


def pricing_model(name: PricingModelName) -> PricingModel:
    """Return the pricing model of that name."""
    match name:
        case "v069":
            return V069Model()
        case "reference":
            return ReferenceModel()
        case _:
            assert_never(name)


__all__ = [
    "BuyQuote",
    "FeeSchedule",
    "PricedShares",
    "PricingModel",
    "PricingModelName",
    "Quantities",
    "SellQuote",
    "TradeFees",
    "pricing_model",
]
