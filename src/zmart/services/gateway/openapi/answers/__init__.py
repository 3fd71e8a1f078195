"""Examples of answers for the published description: one scenario, of a market in which one wallet buys for 1 SOL."""
