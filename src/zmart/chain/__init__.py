"""Talk to Solana: addresses, codecs, events from logs, RPC calls, transactions and the sender."""
