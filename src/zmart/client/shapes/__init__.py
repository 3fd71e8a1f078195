"""Define the shapes of the HTTP API's responses: the gateway encodes them and the client decodes them.

Lamports and shares are integers in units of 1e-9. Times are ISO 8601 in UTC with milliseconds. Prices of YES are
decimal text with nine places. Later versions may add fields; a client ignores unknown fields.
"""
