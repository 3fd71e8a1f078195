'use strict';
// Answer two kinds of calls from the journal: those about transactions that Surfpool loses in a restart, so that
// clients see one chain that continues, and lists for which Surfpool would copy all of its transactions.
const { fromBase58 } = require('./base58.js');
const { epochInfo, jumper, slotsUntil, travel } = require('./clock.js');
const { REFUSED, refusal } = require('./refusal.js');
const { encoded, forAnyVersion, readable } = require('./rendering.js');

const MOST_SIGNATURES = 1000;
const RECENT_SLOTS = 150;
const FINAL_AFTER_SLOTS = 31; // as for Surfpool's own commitments
const BEHIND_SLOTS = { processed: 0, confirmed: 1, finalized: FINAL_AFTER_SLOTS };
const [MOST_ADDRESS_CHARACTERS, ADDRESS_BYTES] = [44, 32];
const ALONE_WITHIN_MS = 2000;
const INVALID_PARAMS = -32602;
const NOT_REACHED = -32016;
const AN_HOUR_MS = 3600000; // how far a time travel without a target goes, as in Surfpool

const RESET = 'this chain is not reset while it runs, since its slots never decrease: `zmart clean` erases it';

/** Return the JSON-RPC methods that this process answers itself, as {name: async (call, params) => result}.
 * `call(...params)` calls Surfpool's method of that name. Clients' requests pass `gate`; a time travel closes it. */
function methods({ journal, recorder, blockhashes, gate, heightOffset, slotMs }) {
  const past = (signatures = []) => signatures.filter((signature) => journal.past.has(signature));
  const statusOf = ({ slot, err, blockTime }) => ({ slot, err, blockTime, confirmationStatus: 'finalized' });

  /** Return the journal's entry of a transaction that Surfpool has; write new transactions into the journal first. */
  async function recall(signature) {
    if (!journal.transactions.has(signature)) await recorder.flush();
    return journal.transactions.get(signature);
  }

  async function getTransaction(call, params) {
    const [signature, options] = params;
    if (signature === REFUSED) return null;
    const result = await call(signature, forAnyVersion(options));
    // Surfpool returns a transaction whatever commitment is requested.
    if (result && options?.commitment === 'finalized' && !isFinal(result.slot)) return null;
    const known = result ? await recall(signature) : journal.transactions.get(signature);
    if (result && known) result.blockTime = known.blockTime; // Surfpool's own is 1000 times too small
    if (result) return readable(result, options);
    if (!known) return null;
    const { slot, blockTime, meta, version, ...record } = journal.read(signature);
    const transaction = encoded(record, options);
    return readable({ blockTime, meta, slot, transaction, version }, options); // the fields in Surfpool's order
  }

  async function getSignatureStatuses(call, params) {
    const result = await call(...params);
    result.value = result.value.map((status, at) => {
      const signature = params[0][at];
      if (signature === REFUSED) return null;
      const known = journal.past.has(signature) && journal.transactions.get(signature);
      if (status || !known) return status;
      const { slot, err, confirmationStatus } = statusOf(known);
      return { slot, confirmations: null, err, status: err ? { Err: err } : { Ok: null }, confirmationStatus };
    });
    return result;
  }

  /** Answer from the journal: Surfpool would copy all of its transactions for each list. As in Surfpool, the list has
   * all executed transactions, whatever commitment is requested: so the newest slot decides about minContextSlot. */
  async function getSignaturesForAddress(call, params) {
    const [address, options] = params;
    if (!isAddress(address) || !areListOptions(options)) return call(...params); // its error names the mistake
    await recorder.complete();
    const { limit, before, until, minContextSlot } = options ?? {};
    if (minContextSlot > recorder.clock.slot) requireSlot((await epochInfo(recorder.call)).absoluteSlot, minContextSlot);
    const signatures = journal.byAddress.get(address) ?? [];
    const lines = [];
    const first = before ? signatures.lastIndexOf(before) : signatures.length;
    for (let at = first - 1; at >= 0 && lines.length < (limit ?? MOST_SIGNATURES) && signatures[at] !== until; at -= 1) {
      lines.push({ signature: signatures[at], ...lineOf(journal.transactions.get(signatures[at])) });
    }
    return lines;
  }

  const ageOf = (slot) => recorder.clock.slot - slot;
  const isFinal = (slot) => ageOf(slot) >= FINAL_AFTER_SLOTS;

  function lineOf({ slot, err, blockTime, memo = null }) {
    const confirmationStatus = isFinal(slot) ? 'finalized' : ageOf(slot) > 0 ? 'confirmed' : 'processed';
    return { slot, err, blockTime, memo, confirmationStatus };
  }

  /** Answer from the journal, with micro-lamports a compute unit: Surfpool would copy all of its transactions. */
  async function getRecentPrioritizationFees(call, params) {
    const [addresses = []] = params;
    if (!Array.isArray(addresses) || !addresses.every(isAddress)) return call(...params); // its error names the mistake
    await recorder.complete();
    journal.prices = journal.prices.filter(({ slot }) => slot > recorder.clock.slot - RECENT_SLOTS);
    return journal.prices
      .filter((one) => !addresses.length || addresses.some((address) => one.addresses.includes(address)))
      .map(({ slot, price }) => ({ slot, prioritizationFee: price }));
  }

  async function requestAirdrop(call, params) {
    const signature = await call(...params);
    recorder.executed(signature); // Surfpool reports no event of an airdrop
    return signature;
  }

  async function getBlock(call, params) {
    const [slot, options] = params;
    const signatures = past(journal.bySlot.get(slot));
    if (!signatures.length) return ofThisRun(await call(slot, forAnyVersion(options)), options);
    const records = signatures.map((signature) => journal.read(signature));
    const { blockhash, blockTime, height } = records[0];
    const head = { blockhash, previousBlockhash: blockhash, parentSlot: slot - 1, blockHeight: height, blockTime };
    switch (options?.transactionDetails ?? 'full') {
      case 'none': return head;
      case 'signatures': return { ...head, signatures };
      default: return {
        ...head,
        transactions: records.map((record) => readable({
          transaction: encoded(record, options), meta: record.meta, version: record.version,
        }, options)),
      };
    }
  }

  function ofThisRun(block, options) {
    const transactions = block?.transactions?.map((each) => readable(each, options));
    return higher(transactions ? { ...block, transactions } : block);
  }

  /** As on a validator, all fields are those of the block that the requested commitment has reached; Surfpool returns
   * the newest block's. */
  async function getEpochInfo(call, params) {
    const info = await call(...params);
    const { commitment, minContextSlot } = params[0] ?? {};
    const behind = BEHIND_SLOTS[commitment] ?? FINAL_AFTER_SLOTS; // the default is finalized
    const absoluteSlot = info.absoluteSlot - behind;
    requireSlot(absoluteSlot, minContextSlot);
    const isInEpochBefore = info.slotIndex < behind;
    return higher({
      ...info,
      absoluteSlot,
      blockHeight: Math.max(0, info.blockHeight - behind),
      epoch: info.epoch - isInEpochBefore,
      slotIndex: info.slotIndex - behind + (isInEpochBefore && info.slotsInEpoch),
    });
  }

  const higher = (block) => block && { ...block, blockHeight: block.blockHeight + heightOffset };

  const jump = jumper(recorder.call, (act) => gate.alone(act, ALONE_WITHIN_MS));

  /** Answer surfnet_timeTravel, one after the other. */
  let lastTravel = Promise.resolve();
  async function timeTravel(call, params) {
    recorder.travels += 1;
    try {
      lastTravel = lastTravel.catch(() => {}).then(() => travelTo(call, params));
      return await lastTravel;
    } finally {
      recorder.travels -= 1;
    }
  }

  /** The slots up to the target are reserved in the journal first: a chain that is killed during the travel restarts
   * after them. */
  async function travelTo(call, [target]) {
    if (!Object.values(target ?? {}).every(Number.isSafeInteger)) return call(target); // Surfpool refuses the call
    const info = await epochInfo(recorder.call);
    const slot = slotOf(target, info);
    const timestamp = target?.absoluteTimestamp ?? (slot === undefined ? Date.now() + AN_HOUR_MS : undefined);
    if (slot <= info.absoluteSlot) {
      throw refusal(INVALID_PARAMS, `slot ${slot} is in the past: the chain is at slot ${info.absoluteSlot}`);
    }
    recorder.reserve(slot ?? info.absoluteSlot + await slotsUntil(recorder.call, timestamp, slotMs));
    try {
      const reached = slot === undefined
        ? await travel(recorder.call, jump, timestamp, slotMs) : await jump({ absoluteSlot: slot });
      recorder.arrived(reached.absoluteSlot);
      return higher(reached);
    } catch (problem) {
      recorder.arrived();
      throw problem;
    }
  }

  return {
    getTransaction, getSignatureStatuses, getSignaturesForAddress, getRecentPrioritizationFees,
    requestAirdrop, getBlock,
    getLatestBlockhash: (call, params) => blockhashes.latest(params),
    getBlockHeight: async (call, params) => (await call(...params)) + heightOffset,
    getEpochInfo,
    getGenesisHash: async () => journal.clock.genesis,
    surfnet_timeTravel: timeTravel,
    surfnet_resetNetwork: async () => { throw refusal(INVALID_PARAMS, RESET); },
    zmart_save: () => recorder.save(),
  };
}

function isAddress(text) {
  return typeof text === 'string' && text.length <= MOST_ADDRESS_CHARACTERS
    && fromBase58(text)?.length === ADDRESS_BYTES;
}

function areListOptions(options) {
  const { limit, before, until, minContextSlot } = options ?? {};
  return typeof (options ?? {}) === 'object' && isCount(limit, 1, MOST_SIGNATURES)
    && isCount(minContextSlot, 0, Number.MAX_SAFE_INTEGER)
    && [before, until].every((signature) => typeof (signature ?? '') === 'string');
}

/** Refuse a call, as a validator does, that only a node may answer that has reached slot `minContextSlot`. */
function requireSlot(slot, minContextSlot) {
  if (slot < (minContextSlot ?? 0)) {
    throw refusal(NOT_REACHED, 'Minimum context slot has not been reached', { contextSlot: slot });
  }
}

const isCount = (value, least, most) => (value ?? null) === null
  || (Number.isInteger(value) && value >= least && value <= most);

/** Return the slot that a target of surfnet_timeTravel names: its slot, or the first slot of its epoch. */
function slotOf(target, { slotsInEpoch }) {
  return target?.absoluteEpoch === undefined ? target?.absoluteSlot : target.absoluteEpoch * slotsInEpoch;
}

module.exports = { methods };
