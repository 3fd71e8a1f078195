'use strict';
// Give clients random blockhashes. Surfpool numbers its own from the same start in every run: a transaction could get
// the signature of an earlier run's, and one that has expired could become valid again. Surfpool accepts the blockhashes
// that a sysvar lists, which this module rewrites.
const crypto = require('crypto');
const { base58 } = require('./base58.js');

const RECENT_BLOCKHASHES = 'SysvarRecentB1ockHashes11111111111111111111';
const SURFPOOLS_OWN = /^SURFNETxSAFEHASH/;
const [COUNT_BYTES, HASH_BYTES, ENTRY_BYTES] = [8, 32, 40]; // an entry is a blockhash and a fee
const MOST_ENTRIES = 150; // a blockhash is valid as long as it is one of these; each block moves all by one place
const EARLY_BLOCKS = 10; // by which a blockhash may end before its last valid block height: it never ends after it
const MOST_TRIES = 10;
const MOST_AGE_BLOCKS = 2; // of the blockhash that is the answer to getLatestBlockhash
const PROCESSED = { commitment: 'processed' };

class Blockhashes {
  /** `call` calls Surfpool. `heightOffset` is what is added to its block heights for clients. `issued` are the
   * blockhashes that clients got of earlier runs, as {hash, lastValidBlockHeight}, the newest first. */
  constructor(call, heightOffset, issued = []) {
    Object.assign(this, { call, heightOffset, issued: [...issued], turn: Promise.resolve() });
  }

  /** Answer getLatestBlockhash. */
  async latest(params) {
    const result = await this.call('getLatestBlockhash', ...params);
    this.turn = this.turn.catch(() => {}).then(() => this.newest());
    return { ...result, value: await this.turn };
  }

  /** Return {blockhash, lastValidBlockHeight} of the newest random blockhash, of a new one if that is too old. */
  async newest() {
    const top = await this.top();
    if (!this.issued.length || top - this.issued[0].lastValidBlockHeight >= MOST_AGE_BLOCKS) {
      this.issued.unshift({ hash: crypto.randomBytes(HASH_BYTES), lastValidBlockHeight: top });
      await this.write().catch((problem) => { this.issued.shift(); throw problem; });
    }
    const [{ hash, lastValidBlockHeight }] = this.issued;
    return { blockhash: base58(hash), lastValidBlockHeight };
  }

  /** Write the issued blockhashes into the sysvar, each at the place that its age has, with which it ends at most
   * EARLY_BLOCKS before its last valid block height. Blocks that are made meanwhile would let all end later: after many,
   * as on a busy machine, write them again for the height that is expected then. Surfpool loses what is written while
   * it makes a block: then, too. If that does not succeed, all end now: none may end late. */
  async write() {
    const [{ hash, lastValidBlockHeight }] = this.issued;
    for (let [tries, expected] = [0, 0]; tries < MOST_TRIES; tries += 1) {
      const top = await this.top();
      await this.put(arranged(await this.entries(), this.issued, top + expected));
      if (top - lastValidBlockHeight + EARLY_BLOCKS >= MOST_ENTRIES) return; // even the newest has ended before
      const index = (await this.entries()).findIndex((one) => hash.equals(one.subarray(0, HASH_BYTES)));
      const reached = await this.top();
      if (index >= reached - lastValidBlockHeight) {
        this.issued = this.issued.filter((one) => reached - one.lastValidBlockHeight < 2 * MOST_ENTRIES);
        return;
      }
      expected = reached - top;
    }
    await this.put(arranged(await this.entries(), this.issued, Infinity));
    throw new Error('the blockhashes cannot be written: too many blocks are made meanwhile');
  }

  /** Return the last valid block height, for clients, of the newest block's blockhash. */
  async top() {
    return this.heightOffset + (await this.call('getLatestBlockhash', PROCESSED)).value.lastValidBlockHeight;
  }

  /** Return the entries of the sysvar, the newest first. */
  async entries() {
    const { value } = await this.call('getAccountInfo', RECENT_BLOCKHASHES, { encoding: 'base64', ...PROCESSED });
    const data = Buffer.from(value.data[0], 'base64');
    const count = Number(data.readBigUInt64LE(0));
    const starts = Array.from({ length: count }, (_, at) => COUNT_BYTES + at * ENTRY_BYTES);
    return starts.map((start) => data.subarray(start, start + ENTRY_BYTES));
  }

  async put(entries) {
    const count = Buffer.alloc(COUNT_BYTES);
    count.writeBigUInt64LE(BigInt(entries.length));
    const data = Buffer.concat([count, ...entries]).toString('hex');
    await this.call('surfnet_setAccount', RECENT_BLOCKHASHES, { data });
  }
}

/** Return the sysvar's `entries` with the issued blockhashes where they belong while the newest block's blockhash is
 * valid up to `top`, and nowhere else. */
function arranged(entries, issued, top) {
  const known = new Set(issued.map(({ hash }) => hash.toString('hex')));
  const isIssued = (one) => known.has(one.toString('hex', 0, HASH_BYTES));
  const other = () => entry(crypto.randomBytes(HASH_BYTES), entries[0]);
  const all = Array.from({ length: MOST_ENTRIES }, (_, at) => {
    return at < entries.length && !isIssued(entries[at]) ? entries[at] : other();
  });
  for (const { hash, lastValidBlockHeight } of issued) {
    const index = top - lastValidBlockHeight + EARLY_BLOCKS;
    if (index < MOST_ENTRIES) all[index] = entry(hash, entries[0]);
  }
  return all;
}

/** Return an entry of the sysvar with the blockhash `hash` and the fee of `other`. */
const entry = (hash, other) => Buffer.concat([hash, other.subarray(HASH_BYTES)]);

/** Return whether `blockhash` is one of those that Surfpool makes itself in every run, and that no client is given. */
const isSurfpools = (blockhash) => SURFPOOLS_OWN.test(blockhash);

module.exports = { Blockhashes, RECENT_BLOCKHASHES, isSurfpools };
