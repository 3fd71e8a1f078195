"""Define the shapes of the HTTP API: what the gateway sends and the client reads, one definition for both.

Lamports and shares are integers in units of 1e-9, times ISO 8601 in UTC with milliseconds, prices of YES decimal text
with nine places. Fields may be added; a client ignores unknown ones.
"""
