"""Run the local chain: Surfpool's real runtime behind the real JSON-RPC, on fixed ports, with stored state.

`node` finds Node.js and installs the addon, `server` runs chain.js, `keys` holds this machine's wallets, and
`genesis` deploys the program and writes its GlobalConfig.
"""
