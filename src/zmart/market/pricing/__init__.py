"""LMSR pricing: one interface, two programs. `v069` is the deployed one, `reference` the one of this repository."""

from __future__ import annotations

from typing import Literal, assert_never

from zmart.market.pricing.fees import Fees, FeeSchedule
from zmart.market.pricing.model import BuyQuote, PricingModel, Quantities, SellQuote, Trade
from zmart.market.pricing.reference import ReferenceModel
from zmart.market.pricing.v069 import V069Model

PricingModelName = Literal["v069", "reference"]


def pricing_model(name: PricingModelName) -> PricingModel:
    """The model of that name."""
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
    "Fees",
    "PricingModel",
    "PricingModelName",
    "Quantities",
    "SellQuote",
    "Trade",
    "pricing_model",
]
