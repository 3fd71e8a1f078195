'use strict';
// Write executed transactions and changed accounts into the journal soon after execution, long before finalization.

const { setTimeout } = require('timers/promises');
const { RECENT_BLOCKHASHES } = require('./blockhashes.js');
const { chainTime } = require('./clock.js');
const { REFUSED, refusal } = require('./refusal.js');
const { ANY_VERSION, memoOf, priceOf } = require('./rendering.js');

const DRAIN_MS = 10; // Surfpool blocks, and answers nothing, once some 500 events have not been read
const BUSY_MS = 1000; // events are read every DRAIN_MS for this long after a transaction; otherwise every FLUSH_MS
const FLUSH_MS = 50;
const WRITE_AGAIN_MS = 1000;
const MOST_TRIES = 40; // attempts at a request that Surfpool does not answer: about 2 s
const COMPLETE_MS = 2500; // longer than MOST_TRIES take
const CLOCK_EVERY_MS = 5000;
const AHEAD_MS = 10000; // slots are reserved this far ahead; a chain that was killed skips them when it restarts
const STOP_MS = 2000; // the chain stops this long before the last reserved slot
const UNHEALTHY = -32005;
const ACCOUNTS_AT_ONCE = 100;
const EVERYTHING = { includeParsedAccounts: false, scope: 'network', filter: { includeProgramAccounts: true } };
// The owners of the accounts that every new chain includes.
const BUILT_IN_OWNERS = new Set([
  'NativeLoader1111111111111111111111111111111',
  'Feature111111111111111111111111111111111111',
  'Sysvar1111111111111111111111111111111111111',
]);

class Recorder {
  /** `genesis` has the accounts of a new chain; `fail(problem)` ends the process.
   *
   * `reserved` in the journal's clock is the last reserved slot. The chain shows no later slot to clients, and a chain
   * that was killed restarts above it: so slots never decrease, whenever the chain is killed. */
  constructor(chain, call, journal, { genesis, heightOffset, slotMs, fail }) {
    Object.assign(this, { chain, call, journal, genesis, heightOffset, fail });
    Object.assign(this, { turn: Promise.resolve(), writtenAt: 0, failures: 0 });
    Object.assign(this, { unwritten: null, notBefore: 0 }); // why the journal cannot be written, and when to try again
    this.clock = { slot: 0, unixTimestamp: 0, height: 0, ended: false };
    Object.assign(this, { ahead: Math.ceil(AHEAD_MS / slotMs), stop: Math.ceil(STOP_MS / slotMs) });
    Object.assign(this, { busyUntil: 0, often: undefined }); // until when `often`, a timer, calls `watch`
    Object.assign(this, { target: 0, stopped: false }); // target: the slot to which a time travel leads now, or 0
    this.travels = 0; // time travels that are requested
    this.seen = []; // [signature, chain time in seconds, attempts] in the order of execution
    this.pending = new Set(); // signatures of executed transactions, neither in the journal nor given up
    this.touched = new Set(); // addresses of changed accounts
    this.drain();
    this.seen = []; // the journal already has what the restore wrote
    this.pending.clear();
    this.touched.clear();
  }

  /** Reserve the first slots, before any client is answered. */
  async begin() {
    this.clock.slot = await this.call('getSlot', { commitment: 'processed' });
    this.clock.height = await this.height();
    this.clock.unixTimestamp = await chainTime(this.call);
    try { this.write([], {}); } catch (problem) { this.handleFailure(problem); }
    await this.stopIfShown();
  }

  run() {
    this.timer = setInterval(() => { this.watch(); this.flush(); }, FLUSH_MS);
  }

  /** Stop reading events and writing the journal by itself; resolves once what is under way has ended. */
  async pause() {
    clearInterval(this.timer);
    this.busyUntil = 0;
    this.often = clearInterval(this.often);
    await this.turn;
  }

  /** Read Surfpool's events, and stop the chain before it shows a slot that is not reserved. While transactions arrive,
   * repeat this every DRAIN_MS. */
  watch() {
    this.drain();
    this.stopIfShown();
    const isBusy = Date.now() < this.busyUntil;
    if (isBusy && !this.often) this.often = setInterval(() => this.watch(), DRAIN_MS);
    if (!isBusy && this.often) this.often = clearInterval(this.often);
  }

  /** Write what was executed until now into the journal; resolves when that has succeeded or failed. */
  flush() {
    this.turn = this.turn.then(() => this.record()).catch((problem) => this.handleFailure(problem));
    return this.turn;
  }

  /** Resolve once the transactions that were executed before the call are in the journal or given up. Throws JSON-RPC
   * error -32005 when the journal cannot be written, or after COMPLETE_MS. */
  async complete() {
    this.drain();
    const awaited = [...this.pending];
    for (const end = Date.now() + COMPLETE_MS; ;) {
      await this.flush();
      if (!awaited.some((signature) => this.pending.has(signature))) return;
      if (this.unwritten || Date.now() > end) {
        throw refusal(UNHEALTHY, `Node is unhealthy: ${this.unwritten ?? 'transactions are not written down yet'}`);
      }
      await setTimeout(FLUSH_MS);
    }
  }

  /** Handle an error of a flush: log what the next flush repeats, a request of Surfpool (up to MOST_TRIES failures in a
   * row) or a write to the disk. Any other error ends the process. */
  handleFailure(problem) {
    if (problem.unwritten) return this.waitForDisk(problem);
    this.failures += 1;
    if (!problem.asked || this.failures >= MOST_TRIES) this.fail(problem);
    else console.error(`not written down yet: ${problem.message}`);
  }

  waitForDisk(problem) {
    const reason = `the journal cannot be written (${problem.message}): free some space, it goes on by itself`;
    if (!this.unwritten) console.error(reason);
    this.unwritten = reason;
    this.notBefore = Date.now() + WRITE_AGAIN_MS;
  }

  drain() {
    for (const event of this.chain.drainEvents()) {
      if (event.kind === 'aborted') this.fail(new Error(JSON.stringify(event)));
      const { clock, transactionSignature, accountPubkey } = event;
      // after a jump, the slot in Surfpool's first event is only the slot's index in its epoch
      if (clock?.slot > this.clock.slot) this.clock.slot = clock.slot;
      if (clock) Object.assign(this.clock, { unixTimestamp: clock.unixTimestamp, ended: false });
      const account = accountPubkey === RECENT_BLOCKHASHES ? null : accountPubkey; // no part of the chain's state
      if (transactionSignature || account) this.busyUntil = Date.now() + BUSY_MS;
      if (transactionSignature && transactionSignature !== REFUSED) this.executed(transactionSignature);
      if (account) this.touched.add(account);
    }
  }

  /** Note an executed transaction, known from an event or, for an airdrop, from its response. */
  executed(signature) {
    this.seen.push([signature, this.clock.unixTimestamp]);
    this.pending.add(signature);
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

  /** Return the block height that clients see. */
  async height() {
    return this.heightOffset + (await this.call('getBlockHeight', { commitment: 'processed' }));
  }

  async recordAll(seen, touched) {
    this.clock.height = await this.height();
    const again = [];
    const transactions = (await Promise.all(seen.map((one) => this.transaction(one, again)))).filter(Boolean);
    const addresses = new Set(touched);
    for (const transaction of transactions) for (const address of transaction.addresses) addresses.add(address);
    this.write(transactions, await this.accounts([...addresses]));
    this.seen.push(...again);
    const later = new Set(again.map(([signature]) => signature));
    for (const [signature] of seen) if (!later.has(signature)) this.pending.delete(signature);
  }

  /** Read accounts from Surfpool, as {address: account}; null for an account that does not exist. Accounts of
   * BUILT_IN_OWNERS are left out. */
  async accounts(addresses) {
    const accounts = {};
    for (let from = 0; from < addresses.length; from += ACCOUNTS_AT_ONCE) {
      const some = addresses.slice(from, from + ACCOUNTS_AT_ONCE);
      const options = { encoding: 'base64', commitment: 'processed' };
      const { value } = await this.call('getMultipleAccounts', some, options);
      some.forEach((address, at) => {
        if (!value[at]) accounts[address] = null;
        else if (!BUILT_IN_OWNERS.has(value[at].owner)) accounts[address] = accountState(value[at], value[at].data[0]);
      });
    }
    return accounts;
  }

  /** Return the journal's record of a transaction, or null. A transaction that Surfpool does not return is added to
   * `again`; after MOST_TRIES it is left out of the journal. The error does not end the chain. */
  async transaction([signature, blockTime, tries = 1], again) {
    try {
      return await this.recordOf(signature, blockTime);
    } catch (problem) {
      if (tries < MOST_TRIES) {
        again.push([signature, blockTime, tries + 1]);
      } else {
        this.journal.present.push(signature); // it must not be executed again
        console.error(`transaction ${signature} is left out of lists, and forgotten in a restart: ${problem.message}`);
      }
      return null;
    }
  }

  /** Read a transaction of any version from Surfpool, in json and in base64; null for a transaction it dropped. */
  async recordOf(signature, blockTime) {
    const options = { commitment: 'processed', maxSupportedTransactionVersion: ANY_VERSION };
    const json = await this.call('getTransaction', signature, { ...options, encoding: 'json' });
    if (!json) return null; // dropped: its blockhash had expired
    const bytes = await this.call('getTransaction', signature, { ...options, encoding: 'base64' });
    const { message } = json.transaction;
    const { writable = [], readonly = [] } = json.meta.loadedAddresses ?? {};
    return {
      signature, slot: json.slot, height: this.clock.height, blockTime, err: json.meta.err,
      blockhash: message.recentBlockhash, memo: memoOf(message), price: priceOf(message),
      addresses: [...message.accountKeys, ...writable, ...readonly],
      meta: json.meta, version: json.version, json: json.transaction, base64: bytes.transaction[0],
    };
  }

  write(transactions, accounts) {
    this.clock.reserved = Math.max(this.clock.slot, this.target) + this.ahead;
    this.journal.commit(transactions, accounts, this.clock);
    this.writtenAt = Date.now();
    if (this.unwritten) console.error('the journal is written again');
    this.unwritten = null;
    if (!this.stopped) return;
    this.stopped = false;
    this.call('surfnet_resumeClock').catch((problem) => this.fail(problem));
  }

  /** Reserve further slots shortly before the reserved ones end; stop the chain if the journal cannot be written. */
  async stopIfShown() {
    const { ended, reserved } = this.journal.clock; // after a clock that has ended, nothing is reserved
    if (this.stopped || (!ended && this.clock.slot < reserved - this.stop)) return;
    try {
      this.write([], {});
    } catch (problem) {
      this.handleFailure(problem);
      await this.pauseClock();
    }
  }

  async pauseClock() {
    this.stopped = true;
    console.error('the chain stands still until its journal can be written');
    await this.call('surfnet_pauseClock').catch((problem) => this.fail(problem));
  }

  /** Reserve the slots up to `slot`, to which a time travel is about to lead. Throws JSON-RPC error -32005 when the
   * journal cannot be written. */
  reserve(slot) {
    this.target = slot;
    try {
      this.write([], {});
    } catch (problem) {
      this.target = 0;
      this.handleFailure(problem);
      throw refusal(UNHEALTHY, `Node is unhealthy: ${this.unwritten ?? problem.message}`);
    }
  }

  /** End a time travel that has reached `slot` (0: it has failed): write the clock before its caller is answered. */
  arrived(slot = 0) {
    this.target = 0;
    this.clock.slot = Math.max(this.clock.slot, slot);
    this.write([], {});
  }

  /** Write all transactions, all differences of accounts and the clock into the journal; resolves to {slot, accounts,
   * transactions}. `isEnd` says that no client is answered afterwards. */
  save(isEnd = false) {
    this.notBefore = 0;
    const done = this.turn.then(() => this.record()).then(() => this.snapshot(isEnd));
    this.turn = done.catch(() => {});
    return done;
  }

  async snapshot(isEnd) {
    const now = await exportAccounts(this.call);
    const changed = {};
    for (const [address, account] of Object.entries(now)) {
      const before = this.journal.accounts.get(address) ?? this.genesis[address];
      if (JSON.stringify(account) !== JSON.stringify(before)) changed[address] = account;
    }
    for (const address of this.journal.accounts.keys()) if (!(address in now)) changed[address] = null;
    const unixTimestamp = await chainTime(this.call);
    const [slot, height] = [await this.call('getSlot', { commitment: 'processed' }), await this.height()];
    Object.assign(this.clock, { slot, height, unixTimestamp, ended: isEnd });
    this.write([], changed);
    return { slot, accounts: this.journal.accounts.size, transactions: this.journal.transactions.size };
  }
}

/** Read every account from Surfpool, as {address: {lamports, owner, data, executable}}, without those of
 * BUILT_IN_OWNERS. */
async function exportAccounts(call) {
  const { value } = await call('surfnet_exportSnapshot', EVERYTHING);
  const accounts = {};
  for (const [address, account] of Object.entries(value)) {
    if (!BUILT_IN_OWNERS.has(account.owner)) accounts[address] = accountState(account, account.data);
  }
  return accounts;
}

function accountState({ lamports, owner, executable }, data) {
  return { lamports, owner, data, executable };
}

module.exports = { Recorder, exportAccounts };
