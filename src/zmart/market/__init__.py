"""The domain: lifecycle, pricing, fees, tallies and the fold of events. Pure code that imports nothing else of
zmart."""
