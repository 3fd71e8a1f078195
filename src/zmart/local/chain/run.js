'use strict';
// One run of Surfpool, which begins with the accounts, the programs and the clock of the journal. A process has several
// runs of the same Surfpool, one after the other.
const { Blockhashes } = require('./blockhashes.js');
const { base58 } = require('./base58.js');
const { accountFor, chainTime, jumper, travel } = require('./clock.js');
const { methods } = require('./history.js');
const { Recorder, exportAccounts } = require('./recorder.js');
const { caller } = require('./rpc.js');
const { guards } = require('./sending.js');
const { accepts, loadAccounts } = require('./snapshot.js');

const AHEAD_MS = 10000; // a killed chain may be this far ahead of a journal that has no reserved slots
const KILLED_BLOCKS = 1000; // at least as many blocks as slots are reserved: AHEAD_MS of slots of 10 ms or more
const BLOCKHASH_LIVES_BLOCKS = 151;
const LOADER = 'BPFLoaderUpgradeab1e11111111111111111111111';
const PROGRAM_HEADER = 36; // bytes: 4 of the account's kind, 32 of the address of the account with the code
const PROGRAM_DATA_HEADER = 45;
const AT_ONCE = 50; // accounts that are set concurrently
const MANY = 2000; // accounts, from which on setting each of them takes seconds
const DRAIN_MS = 10; // Surfpool blocks once some 500 events have not been read

/** Start Surfpool with the state of the journal. Resolves to a Run, whose recorder has reserved slots and does not run
 * yet. `shared` is {journal, gate, slotMs, fail}; `fail(problem)` ends the process. */
async function firstRun(Surfnet, shared) {
  const { journal, slotMs } = shared;
  const start = () => Surfnet.startWithConfig({ offline: true, blockProductionMode: 'clock', slotTimeMs: slotMs });
  const heightOffset = offsetAfter(journal.clock);
  const chain = start();
  const reading = journal.readTransactions();
  try {
    return await begun(chain, shared, heightOffset, { mayLoad: true, reading });
  } catch (problem) {
    if (!problem.isWebSocketDead) throw problem;
    await caller(chain.rpcUrl)('surfnet_pauseClock'); // it stays, and does nothing any more
    return begun(start(), shared, heightOffset, { reading });
  }
}

/** Let the Surfpool of an earlier run forget everything, and continue with the state of the journal. `before` is what
 * end() of that run resolved to. No request may be under way. */
async function nextRun(before, shared) {
  await caller(before.chain.rpcUrl)('surfnet_resetNetwork');
  return begun(before.chain, shared, null, { before });
}

/** Resolve to a Run of `chain` with the state of the journal. `heightOffset` is null behind a run of this process,
 * `before`: then the block height that clients see goes on from that of its end. */
async function begun(chain, shared, heightOffset, { mayLoad = false, before = null, reading = null }) {
  const { journal, slotMs, fail } = shared;
  const draining = setInterval(() => chain.drainEvents(), DRAIN_MS); // the journal already has what restore() writes
  const call = caller(chain.rpcUrl);
  const genesis = await exportAccounts(call);
  const isNew = journal.clock === null;
  await Promise.all([reading, isNew || restore(chain, call, journal, genesis, slotMs, mayLoad)]);
  const offset = heightOffset ?? before.height + 1 - (await call('getBlockHeight', { commitment: 'processed' }));
  const blockhashes = new Blockhashes(call, offset, before?.issued);
  if (blockhashes.issued.length) await blockhashes.write();
  clearInterval(draining);
  const recorder = new Recorder(chain, call, journal, { genesis, heightOffset: offset, slotMs, fail });
  if (isNew) journal.commit([], {}, { ...recorder.clock, genesis: await call('getGenesisHash') });
  await recorder.begin();
  return new Run(chain, call, recorder, { ...shared, blockhashes, heightOffset: offset });
}

class Run {
  constructor(chain, call, recorder, shared) {
    const { journal, blockhashes, fail } = shared;
    Object.assign(this, { chain, call, recorder, journal, blockhashes });
    this.url = chain.rpcUrl;
    this.wsPort = Number(new URL(chain.wsUrl).port);
    this.special = methods({ ...shared, recorder });
    const ended = (problem) => recorder.flush().finally(() => fail(problem));
    const latest = async () => (await blockhashes.latest([{ commitment: 'processed' }])).value;
    this.guarded = guards(journal, ended, () => recorder.unwritten, latest);
  }

  /** Write the chain's state into the journal. No request may be under way. Resolves to what nextRun() continues: the
   * chain, the block height, and the blockhashes that clients have got. Resolves to null if the journal cannot be
   * written or Surfpool does not answer; then the run goes on. */
  async end() {
    const { chain, recorder, journal } = this;
    await recorder.pause();
    try {
      const height = await recorder.height();
      const { issued } = this.blockhashes;
      await recorder.save(true);
      if (!recorder.pending.size) {
        journal.endRun();
        return { chain, height, issued };
      }
      recorder.clock.ended = false;
      recorder.write([], {});
    } catch (problem) {
      recorder.clock.ended = false;
      recorder.handleFailure(problem);
    }
    recorder.run();
    return null;
  }
}

/** Return what is added to the block heights of Surfpool, which counts from 0 in each run, after the clock of an earlier
 * process (null: the chain is new). For clients the block height continues, above the last valid height of every
 * blockhash of that process: a transaction that was signed then and never landed has expired. */
function offsetAfter(clock) {
  if (clock === null) return 0;
  return clock.height + (clock.ended ? 1 : KILLED_BLOCKS) + BLOCKHASH_LIVES_BLOCKS;
}

/** Restore the journal's accounts and programs, then set the clock, so that slots and time never decrease. `mayLoad`:
 * many accounts may be loaded over Surfpool's WebSocket, which is faster, but the WebSocket may be dead afterwards. */
async function restore(chain, call, journal, genesis, slotMs, mayLoad) {
  const known = [...journal.accounts].filter(([, { owner }]) => owner !== LOADER);
  // A snapshot loads only new accounts that are not programs.
  const isNew = ([address, { executable }]) => !executable && !Object.hasOwn(genesis, address);
  const isLoaded = mayLoad && known.length > MANY;
  const loaded = isLoaded && await loadAccounts(chain.wsUrl, Object.fromEntries(known.filter(isNew)));
  if (isLoaded && !await accepts(chain.wsUrl)) {
    throw Object.assign(new Error('the WebSocket of Surfpool does not answer'), { isWebSocketDead: true });
  }
  await setAccounts(call, known.filter((one) => !loaded || !isNew(one)));
  await restorePrograms(call, journal);
  const { unixTimestamp } = journal.clock;
  const jump = jumper(call);
  await jump({ absoluteSlot: latestVisibleSlot(journal.clock, slotMs) + 1 });
  const movedS = (await chainTime(call)) - unixTimestamp;
  if (movedS < 0) await travel(call, jump, unixTimestamp * 1000, slotMs);
  else await accountFor(call, jump, movedS, slotMs);
}

/** Restore the accounts of the loader of programs. A program whose data account is not in the journal was there in the
 * beginning, or is closed; Surfpool would give a closed one an empty program. */
async function restorePrograms(call, journal) {
  const ofLoader = [...journal.accounts].filter(([, { owner }]) => owner === LOADER);
  for (const [address, account] of ofLoader) {
    if (!account.executable) continue;
    const data = journal.accounts.get(dataAddressOf(account));
    if (data) await writeProgram(call, address, data);
  }
  // Buffers, and the slots, authorities and lamports of programs, for which writeProgram has others.
  await setAccounts(call, ofLoader.filter(([, { executable }]) => !executable));
}

/** Return the latest slot that the previous run can have shown to a client, from the clock of its journal. */
function latestVisibleSlot({ slot, ended, reserved = null }, slotMs) {
  return ended ? slot : reserved ?? slot + Math.ceil(AHEAD_MS / slotMs);
}

async function setAccounts(call, accounts) {
  for (let from = 0; from < accounts.length; from += AT_ONCE) {
    await Promise.all(accounts.slice(from, from + AT_ONCE).map((one) => setAccount(call, ...one)));
  }
}

function setAccount(call, address, { lamports, owner, data, executable }) {
  const update = { lamports, owner, executable, data: Buffer.from(data, 'base64').toString('hex') };
  return call('surfnet_setAccount', address, update);
}

const dataAddressOf = (program) => base58(Buffer.from(program.data, 'base64').subarray(4, PROGRAM_HEADER));

function writeProgram(call, address, data) {
  const code = Buffer.from(data.data, 'base64').subarray(PROGRAM_DATA_HEADER);
  return call('surfnet_writeProgram', address, code.toString('hex'), 0);
}

module.exports = { firstRun, nextRun };
