'use strict';
// Give clients random blockhashes. Surfpool numbers its own from the same start in every run: a transaction could get
// the signature of an earlier run's, and one that has expired could become valid again. Surfpool accepts the blockhashes
// that a sysvar lists, which this module rewrites.
const crypto = require('crypto');
const { base58 } = require('./base58.js');

const RECENT_BLOCKHASHES = 'SysvarRecentB1ockHashes11111111111111111111';
const SURFPOOLS_OWN = /^SURFNETxSAFEHASH/;
const [COUNT_BYTES, HASH_BYTES, ENTRY_BYTES] = [8, 32, 40]; // an entry is a blockhash and a fee
const MOST_ENTRIES = 150;
const MOST_TRIES = 5;
const MOST_AGE_BLOCKS = 2; // of the blockhash that is the answer to getLatestBlockhash
const PROCESSED = { commitment: 'processed' };

class Blockhashes {
  /** `call` calls Surfpool. */
  constructor(call) {
    Object.assign(this, { call, newest: null, turn: Promise.resolve() });
  }

  /** Answer getLatestBlockhash. */
  async latest(params) {
    const result = await this.call('getLatestBlockhash', ...params);
    this.turn = this.turn.catch(() => {}).then(() => this.renewed());
    return { ...result, value: { ...(await this.turn) } };
  }

  /** Return {blockhash, lastValidBlockHeight} of the newest random blockhash, of a new one if that is too old. */
  async renewed() {
    const { lastValidBlockHeight } = await this.own();
    if (this.newest && lastValidBlockHeight - this.newest.lastValidBlockHeight < MOST_AGE_BLOCKS) return this.newest;
    const random = crypto.randomBytes(HASH_BYTES);
    await this.rewrite(([first, ...others]) => [entry(random, first), ...others]);
    this.newest = { ...(await this.own()), blockhash: base58(random) };
    return this.newest;
  }

  /** Let Surfpool accept `entries`, the sysvar's entries of the run before, for as long as that run would have. */
  carry(entries) {
    return this.rewrite((own) => [...own, ...entries]);
  }

  /** Replace the sysvar's entries by `change(entries)`.
   *
   * A block that was made meanwhile may be missing then: an entry for it is added, and one for the block that may be
   * made meanwhile again. Too few entries would keep all older ones valid for longer than their block height says. */
  async rewrite(change) {
    let { lastValidBlockHeight: height } = await this.own();
    let entries = change(await this.entries());
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      await this.write(entries.slice(0, MOST_ENTRIES));
      const missing = (await this.own()).lastValidBlockHeight - height;
      if (!missing) return;
      height += missing;
      entries = await this.entries();
      const added = Array.from({ length: missing + 1 }, () => entry(crypto.randomBytes(HASH_BYTES), entries[0]));
      entries.unshift(...added);
    }
  }

  /** Return {blockhash, lastValidBlockHeight} of Surfpool's newest block. */
  async own() {
    return (await this.call('getLatestBlockhash', PROCESSED)).value;
  }

  /** Return the entries of the sysvar, the newest first. */
  async entries() {
    const { value } = await this.call('getAccountInfo', RECENT_BLOCKHASHES, { encoding: 'base64', ...PROCESSED });
    const data = Buffer.from(value.data[0], 'base64');
    const count = Number(data.readBigUInt64LE(0));
    const starts = Array.from({ length: count }, (_, at) => COUNT_BYTES + at * ENTRY_BYTES);
    return starts.map((start) => data.subarray(start, start + ENTRY_BYTES));
  }

  async write(entries) {
    const count = Buffer.alloc(COUNT_BYTES);
    count.writeBigUInt64LE(BigInt(entries.length));
    const data = Buffer.concat([count, ...entries]).toString('hex');
    await this.call('surfnet_setAccount', RECENT_BLOCKHASHES, { data });
  }
}

/** Return an entry of the sysvar with the blockhash `hash` and the fee of `other`. */
const entry = (hash, other) => Buffer.concat([hash, other.subarray(HASH_BYTES)]);

/** Return whether `blockhash` is one of those that Surfpool makes itself in every run, and that no client is given. */
const isSurfpools = (blockhash) => SURFPOOLS_OWN.test(blockhash);

module.exports = { Blockhashes, RECENT_BLOCKHASHES, isSurfpools };
