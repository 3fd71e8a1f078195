"""Talk to Solana: addresses, codecs, logs to events, RPC, transactions and the sender."""
