"""Helpers that tests of several folders share: servers, simulated Solana nodes, rows, wallets, waiting."""
