'use strict';
// node transaction_chain.js <addon folder>: a chain that makes a block for each transaction; prints its RPC address.
const path = require('path');
const { Surfnet } = require(path.join(process.argv[2], 'node_modules', '@solana', 'surfpool-linux-x64-gnu'));
const chain = Surfnet.startWithConfig({ offline: true, blockProductionMode: 'transaction' });
console.log(chain.rpcUrl);
process.stdin.on('end', () => process.exit(0)).resume();
