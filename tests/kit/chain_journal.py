"""Fill a journal of the local chain, by the chain's own code, with any number of accounts and transactions."""

from __future__ import annotations

import subprocess
from pathlib import Path

from zmart.local.chain import node

SOURCE = Path(node.__file__).parent


def run_script(script: str, folder: Path, *arguments: object) -> str:
    """Run JavaScript with Node.js and return its stdout; AssertionError with its stderr when it fails.

    The script's arguments are the folder of the chain's modules (SOURCE), then `folder`, then `arguments`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{folder.name}.js"
    path.write_text(script)
    done = subprocess.run(
        [node.find_node(), path, SOURCE, folder, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill_journal(folder: Path, accounts: int, transactions: int) -> None:
    """Add accounts of the System program, and transactions as large as trades, to the journal of a stopped chain.

    `accounts` and `transactions` are the numbers to add.
    """
    run_script(FILL, folder, accounts, transactions)


FILL = """
const crypto = require('crypto');
const [source, folder, accounts, transactions] = process.argv.slice(2);
const { Journal } = require(`${source}/journal.js`);
const { base58 } = require(`${source}/base58.js`);
const SYSTEM = '11111111111111111111111111111111';
const journal = new Journal(folder);
const { slot, unixTimestamp } = journal.clock;
const wallets = Array.from({ length: accounts }, () => base58(crypto.randomBytes(32)));
const state = (lamports) => ({ lamports, owner: SYSTEM, data: '', executable: false });
journal.commit([], Object.fromEntries(wallets.map((wallet, at) => [wallet, state(1e9 + at)])), {});
const logMessages = Array.from({ length: 12 }, (_, at) => `Program log: ${at} ${'x'.repeat(90)}`);
for (let at = 0; at < transactions; at += 1) {
  const addresses = wallets.slice(at % 900, (at % 900) + 12);
  journal.commit([{
    signature: base58(crypto.randomBytes(64)), slot: slot + at, height: at, blockTime: unixTimestamp, err: null,
    blockhash: base58(crypto.randomBytes(32)), addresses, meta: { err: null, logMessages }, version: 'legacy',
    json: { message: { accountKeys: addresses } }, base64: crypto.randomBytes(600).toString('base64'),
  }], { [addresses[0]]: state(1e9 + at) }, { slot: slot + at });
}
console.log(journal.lines.end);
"""
