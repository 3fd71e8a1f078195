"""Run the whole backend on one machine: embedded servers, the local chain, stand-ins for providers, and the demo."""
