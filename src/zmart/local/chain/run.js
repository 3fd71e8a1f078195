'use strict';
// One run of Surfpool, which begins with the accounts, the programs and the clock of the journal. A process has several
// runs of the same Surfpool, one after the other.
const { Blockhashes } = require('./blockhashes.js');
const { base58 } = require('./base58.js');
const { chainTime, jumper, travel } = require('./clock.js');
const { methods } = require('./history.js');
const { Recorder, exportAccounts } = require('./recorder.js');
const { caller } = require('./rpc.js');
const { guards } = require('./sending.js');
const { loadAccounts } = require('./snapshot.js');

const AHEAD_MS = 10000; // a killed chain may be this far ahead of a journal that has no reserved slots
const KILLED_BLOCKS = 1000; // at least as many blocks as slots are reserved: AHEAD_MS of slots of 10 ms or more
const BLOCKHASH_LIVES_BLOCKS = 151;
const LOADER = 'BPFLoaderUpgradeab1e11111111111111111111111';
const PROGRAM_HEADER = 36; // bytes: 4 of the account's kind, 32 of the address of the account with the code
const PROGRAM_DATA_HEADER = 45;
const DRAIN_MS = 10; // Surfpool blocks once some 500 events have not been read

/** Start Surfpool with the state of the journal. Resolves to a Run, whose recorder has reserved slots and does not run
 * yet. `shared` is {journal, gate, slotMs, fail}; `fail(problem)` ends the process. */
async function firstRun(Surfnet, shared) {
  const { journal, slotMs } = shared;
  const chain = Surfnet.startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs: slotMs });
  const heightOffset = offsetAfter(journal.clock);
  return begun(chain, shared, heightOffset, (restored) => Promise.all([journal.readTransactions(), restored()]));
}

/** Let the Surfpool of an earlier run forget everything, and continue with the state of the journal. `before` is what
 * end() of that run resolved to. No request may be under way. */
async function nextRun(before, shared) {
  await caller(before.chain.rpcUrl)('surfnet_resetNetwork');
  return begun(before.chain, shared, before.height, (restored) => restored(), before.entries);
}

async function begun(chain, shared, heightOffset, load, entries = []) {
  const { journal, slotMs, fail } = shared;
  const draining = setInterval(() => chain.drainEvents(), DRAIN_MS); // the journal already has what restore() writes
  const call = caller(chain.rpcUrl);
  const genesis = await exportAccounts(call);
  const isNew = journal.clock === null;
  await load(async () => isNew || restore(chain, call, journal, genesis, slotMs));
  const blockhashes = new Blockhashes(call);
  if (entries.length) await blockhashes.carry(entries);
  clearInterval(draining);
  const recorder = new Recorder(chain, call, journal, { genesis, heightOffset, slotMs, fail });
  if (isNew) journal.commit([], {}, { ...recorder.clock, genesis: await call('getGenesisHash') });
  await recorder.begin();
  return new Run(chain, call, recorder, { ...shared, blockhashes, heightOffset });
}

class Run {
  constructor(chain, call, recorder, shared) {
    const { journal, blockhashes, fail } = shared;
    Object.assign(this, { chain, call, recorder, journal, blockhashes });
    this.url = chain.rpcUrl;
    this.wsPort = Number(new URL(chain.wsUrl).port);
    this.special = methods({ ...shared, recorder });
    const ended = (problem) => recorder.flush().finally(() => fail(problem));
    this.guarded = guards(journal, ended, () => recorder.unwritten);
  }

  /** Write the chain's state into the journal. No request may be under way. Resolves to what nextRun() continues: the
   * chain, the block height, and the sysvar's entries of recent blockhashes. Resolves to null if the journal cannot be
   * written or Surfpool does not answer; then the run goes on. */
  async end() {
    const { chain, recorder, journal } = this;
    await recorder.pause();
    try {
      const height = await recorder.height(); // before the entries: the next run's heights are no greater than theirs
      const entries = await this.blockhashes.entries();
      await recorder.save(true);
      journal.endRun();
      return { chain, height, entries };
    } catch (problem) {
      recorder.clock.ended = false;
      recorder.stumbled(problem);
      recorder.run();
      return null;
    }
  }
}

/** Return what is added to the block heights of Surfpool, which counts from 0 in each run, after the clock of an earlier
 * process (null: the chain is new). For clients the block height continues, above the last valid height of every
 * blockhash of that process: a transaction that was signed then and never landed has expired. */
function offsetAfter(clock) {
  if (clock === null) return 0;
  return clock.height + (clock.ended ? 1 : KILLED_BLOCKS) + BLOCKHASH_LIVES_BLOCKS;
}

/** Restore the journal's accounts and programs, then set the clock, so that slots and time never decrease. */
async function restore(chain, call, journal, genesis, slotMs) {
  const known = [...journal.accounts].filter(([, { owner }]) => owner !== LOADER);
  // A snapshot loads only new accounts that are not programs, but much faster than setAccount does.
  const isNew = ([address, { executable }]) => !executable && !Object.hasOwn(genesis, address);
  const loaded = await loadAccounts(chain.wsUrl, Object.fromEntries(known.filter(isNew)));
  for (const one of known) if (!loaded || !isNew(one)) await setAccount(call, ...one);
  for (const [address, account] of journal.accounts) {
    if (account.owner === LOADER && account.executable) await writeProgram(call, address, account, journal);
  }
  const { unixTimestamp } = journal.clock;
  const jump = jumper(call);
  await jump({ absoluteSlot: shownSlot(journal.clock, slotMs) + 1 });
  if ((await chainTime(call)) < unixTimestamp) await travel(call, jump, unixTimestamp * 1000, slotMs);
}

/** Return the latest slot that the previous run can have shown to a client, from the clock of its journal. */
function shownSlot({ slot, ended, reserved = null }, slotMs) {
  return ended ? slot : reserved ?? slot + Math.ceil(AHEAD_MS / slotMs);
}

function setAccount(call, address, { lamports, owner, data, executable }) {
  const update = { lamports, owner, executable, data: Buffer.from(data, 'base64').toString('hex') };
  return call('surfnet_setAccount', address, update);
}

function writeProgram(call, address, account, journal) {
  const dataAddress = base58(Buffer.from(account.data, 'base64').subarray(4, PROGRAM_HEADER));
  const code = Buffer.from(journal.accounts.get(dataAddress).data, 'base64').subarray(PROGRAM_DATA_HEADER);
  return call('surfnet_writeProgram', address, code.toString('hex'), 0);
}

module.exports = { firstRun, nextRun };
