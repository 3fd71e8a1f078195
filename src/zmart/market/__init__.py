"""The domain: lifecycle, pricing, fees, tallies, votes and the fold of events.

This code is pure: of zmart it imports only zmart.errors.
"""
