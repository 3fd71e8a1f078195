"""Run the local chain: Surfpool's Solana runtime with Solana's JSON-RPC, on fixed ports, with its state on disk.

`node` finds Node.js and installs the addon, `server` runs chain.js, `keys` holds this machine's wallets, `genesis`
deploys the program and writes its GlobalConfig, and `travel` advances the chain's clock.
"""
