"""The backend of ZMART, a prediction market on Solana."""

__version__ = "0.1.0"
