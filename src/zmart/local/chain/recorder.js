'use strict';
// Record what the chain does within moments: long before a slot is finalized.

const { chainTime } = require('./clock.js');
const { ANY_VERSION } = require('./rendering.js');

const DRAIN_MS = 10; // Surfpool waits once some 500 events have not been taken, and then answers nothing
const FLUSH_MS = 50;
const WRITE_AGAIN_MS = 1000;
const MOST_TRIES = 40; // about 2 s for what Surfpool does not answer
const CLOCK_EVERY_MS = 5000; // less than the margin that a killed chain is given
const ACCOUNTS_AT_ONCE = 100;
const EVERYTHING = { includeParsedAccounts: false, scope: 'network', filter: { includeProgramAccounts: true } };
// Every new chain includes these.
const BUILT_IN_OWNERS = new Set([
  'NativeLoader1111111111111111111111111111111',
  'Feature111111111111111111111111111111111111',
  'Sysvar1111111111111111111111111111111111111',
]);

class Recorder {
  /** `genesis`: the accounts of a chain on which nothing has happened; `fail(problem)` ends the process. */
  constructor(chain, call, journal, { genesis, heightOffset, fail }) {
    Object.assign(this, { chain, call, journal, genesis, heightOffset, fail });
    Object.assign(this, { turn: Promise.resolve(), writtenAt: 0, failures: 0 });
    Object.assign(this, { unwritten: null, notBefore: 0 }); // why the journal cannot be written, and when to try again
    this.clock = { slot: 0, unixTimestamp: 0, height: 0, ended: false };
    this.seen = []; // [signature, chain time] in the order of execution
    this.touched = new Set(); // addresses
    this.drain();
    this.seen = []; // what restoring did is already recorded
    this.touched.clear();
  }

  run() {
    setInterval(() => this.drain(), DRAIN_MS);
    setInterval(() => this.flush(), FLUSH_MS);
  }

  /** Record what has happened until now. */
  flush() {
    this.turn = this.turn.then(() => this.record()).catch((problem) => this.stumbled(problem));
    return this.turn;
  }

  /** What Surfpool did not answer is requested again, what the disk did not take is written again later. */
  stumbled(problem) {
    if (problem.unwritten) return this.waits(problem);
    this.failures += 1;
    if (!problem.asked || this.failures >= MOST_TRIES) this.fail(problem);
    else console.error(`not written down yet: ${problem.message}`);
  }

  waits(problem) {
    const reason = `the journal cannot be written (${problem.message}): free some space, it goes on by itself`;
    if (!this.unwritten) console.error(reason);
    this.unwritten = reason;
    this.notBefore = Date.now() + WRITE_AGAIN_MS;
  }

  drain() {
    for (const event of this.chain.drainEvents()) {
      if (event.kind === 'aborted') this.fail(new Error(JSON.stringify(event)));
      const { clock, transactionSignature, accountPubkey } = event;
      if (clock) Object.assign(this.clock, { slot: clock.slot, unixTimestamp: clock.unixTimestamp, ended: false });
      if (transactionSignature) this.seen.push([transactionSignature, this.clock.unixTimestamp]);
      if (accountPubkey) this.touched.add(accountPubkey);
    }
  }

  async record() {
    this.drain();
    if (Date.now() < this.notBefore) return;
    const { seen, touched } = this;
    if (!seen.length && !touched.size && Date.now() - this.writtenAt < CLOCK_EVERY_MS) return;
    this.seen = [];
    this.touched = new Set();
    try {
      await this.recordAll(seen, touched);
    } catch (problem) {
      this.seen = [...seen, ...this.seen];
      this.touched = new Set([...touched, ...this.touched]);
      throw problem;
    }
    this.failures = 0;
  }

  async recordAll(seen, touched) {
    this.clock.height = this.heightOffset + (await this.call('getBlockHeight', { commitment: 'processed' }));
    const again = [];
    const transactions = (await Promise.all(seen.map((one) => this.transaction(one, again)))).filter(Boolean);
    const addresses = new Set(touched);
    for (const transaction of transactions) for (const address of transaction.addresses) addresses.add(address);
    this.write(transactions, await this.accounts([...addresses]));
    this.seen.push(...again);
  }

  /** The present state of accounts; null for one that no longer exists. */
  async accounts(addresses) {
    const found = {};
    for (let from = 0; from < addresses.length; from += ACCOUNTS_AT_ONCE) {
      const some = addresses.slice(from, from + ACCOUNTS_AT_ONCE);
      const options = { encoding: 'base64', commitment: 'processed' };
      const { value } = await this.call('getMultipleAccounts', some, options);
      some.forEach((address, at) => {
        if (!value[at]) found[address] = null;
        else if (!BUILT_IN_OWNERS.has(value[at].owner)) found[address] = kept(value[at], value[at].data[0]);
      });
    }
    return found;
  }

  /** A transaction as history answers it, or null. One that Surfpool cannot return goes into `again`, and is finally
   * omitted from the journal: it never ends the chain. */
  async transaction([signature, blockTime, tries = 1], again) {
    try {
      return await this.shown(signature, blockTime);
    } catch (problem) {
      if (tries < MOST_TRIES) again.push([signature, blockTime, tries + 1]);
      else console.error(`transaction ${signature} will be forgotten in a restart: ${problem.message}`);
      return null;
    }
  }

  /** In both encodings that clients request, for every version. */
  async shown(signature, blockTime) {
    const options = { commitment: 'processed', maxSupportedTransactionVersion: ANY_VERSION };
    const json = await this.call('getTransaction', signature, { ...options, encoding: 'json' });
    if (!json) return null; // dropped: its blockhash had expired
    const bytes = await this.call('getTransaction', signature, { ...options, encoding: 'base64' });
    const { message } = json.transaction;
    const { writable = [], readonly = [] } = json.meta.loadedAddresses ?? {};
    return {
      signature, slot: json.slot, height: this.clock.height, blockTime, err: json.meta.err,
      blockhash: message.recentBlockhash,
      addresses: [...message.accountKeys, ...writable, ...readonly],
      meta: json.meta, version: json.version, json: json.transaction, base64: bytes.transaction[0],
    };
  }

  write(transactions, accounts) {
    this.journal.commit(transactions, accounts, this.clock);
    this.writtenAt = Date.now();
    if (this.unwritten) console.error('the journal is written again');
    this.unwritten = null;
  }

  /** The clock was set to `slot`: recorded before the caller gets the response. */
  jumped(slot) {
    this.clock.slot = slot;
    this.write([], {});
  }

  /** Record everything exactly, at a clean end. */
  save() {
    this.notBefore = 0;
    const done = this.turn.then(() => this.record()).then(() => this.snapshot());
    this.turn = done.catch(() => {});
    return done;
  }

  async snapshot() {
    const now = await exportAccounts(this.call);
    const changed = {};
    for (const [address, account] of Object.entries(now)) {
      const before = this.journal.accounts.get(address) ?? this.genesis[address];
      if (JSON.stringify(account) !== JSON.stringify(before)) changed[address] = account;
    }
    for (const address of this.journal.accounts.keys()) if (!(address in now)) changed[address] = null;
    const slot = await this.call('getSlot', { commitment: 'processed' });
    Object.assign(this.clock, { slot, unixTimestamp: await chainTime(this.call), ended: true });
    this.write([], changed);
    return { slot, accounts: this.journal.accounts.size, transactions: this.journal.transactions.size };
  }
}

/** Every account that a new chain does not include: {address: {lamports, owner, data, executable}}. */
async function exportAccounts(call) {
  const { value } = await call('surfnet_exportSnapshot', EVERYTHING);
  const found = {};
  for (const [address, account] of Object.entries(value)) {
    if (!BUILT_IN_OWNERS.has(account.owner)) found[address] = kept(account, account.data);
  }
  return found;
}

function kept({ lamports, owner, executable }, data) {
  return { lamports, owner, data, executable };
}

module.exports = { Recorder, exportAccounts };
