"""What tests of several folders share: servers, nodes that play the chain, rows, wallets, waiting."""
