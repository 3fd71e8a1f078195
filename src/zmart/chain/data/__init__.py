"""Hold the on-chain program's IDL and its compiled bytes as package data."""
