"""Run the whole backend on one machine: embedded servers, a local chain, stand-ins for Pinata and Helius, the demo."""
