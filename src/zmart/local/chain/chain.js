'use strict';
// node chain.js <addon folder> <state folder> <rpc port> <ws port> <slot ms> <host> <growth in MiB, 0: no limit>
// A Solana chain for one machine: Surfpool on fixed ports, with state that survives restarts.
const path = require('path');
const { Journal } = require('./journal.js');
const { Recorder, exportAccounts } = require('./recorder.js');
const { base58 } = require('./base58.js');
const { chainTime, jumper, travel } = require('./clock.js');
const { Gate } = require('./gate.js');
const { methods } = require('./history.js');
const { caller, closed, forward, serveRpc } = require('./rpc.js');
const { guards } = require('./sending.js');
const { loadAccounts } = require('./snapshot.js');

const AHEAD_MS = 10000; // a killed chain may be this far ahead of a journal that has no reserved slots
const KILLED_BLOCKS = 1000; // at least as many blocks as slots are reserved: AHEAD_MS of slots of 10 ms or more
const BLOCKHASH_LIVES_BLOCKS = 151;
const LOADER = 'BPFLoaderUpgradeab1e11111111111111111111111';
const PROGRAM_HEADER = 36; // bytes: 4 of the account's kind, 32 of the address of the account with the code
const PROGRAM_DATA_HEADER = 45;
const EXIT_TO_RESTART = 75; // exit status (EX_TEMPFAIL of sysexits.h): the parent process starts the chain again
const MIB = 1024 * 1024;
const GROWTH_MS = 2000;
const ANSWERED_MS = 5000;
const DRAIN_MS = 10; // Surfpool blocks once some 500 events have not been read

const [addonFolder, stateFolder, rpcPort, wsPort, slotMs, host, growthMib] = process.argv.slice(2);

async function main() {
  const { Surfnet } = require(path.join(addonFolder, 'node_modules', '@solana', 'surfpool-linux-x64-gnu'));
  const journal = new Journal(stateFolder);
  const chain = Surfnet.startWithConfig({
    offline: true, blockProductionMode: 'clock', slotTimeMs: Number(slotMs),
  });
  const draining = setInterval(() => chain.drainEvents(), DRAIN_MS); // the journal already has what restore() writes
  const call = caller(chain.rpcUrl);
  const genesis = await exportAccounts(call);
  const isNew = journal.clock === null;
  await Promise.all([journal.readTransactions(), isNew || restore(chain, call, journal, genesis)]);
  // A restarted Surfpool counts blocks from 0. For clients the block height continues, above the last valid height of
  // every blockhash of the previous run: a transaction that was signed then and never landed has expired.
  const passed = journal.clock?.ended ? 1 : KILLED_BLOCKS;
  const heightOffset = isNew ? 0 : journal.clock.height + passed + BLOCKHASH_LIVES_BLOCKS;
  clearInterval(draining);
  const recorder = new Recorder(chain, call, journal, { genesis, heightOffset, slotMs: Number(slotMs), fail });
  if (isNew) journal.commit([], {}, { ...recorder.clock, genesis: await call('getGenesisHash') });
  await recorder.begin();

  const gate = new Gate();
  const special = methods(journal, recorder, gate, heightOffset, Number(slotMs));
  const guarded = guards(journal, (problem) => recorder.flush().finally(() => fail(problem)), () => recorder.unwritten);
  const server = await serveRpc(chain.rpcUrl, { special, guarded, gate }, host, Number(rpcPort));
  await forward(Number(new URL(chain.wsUrl).port), host, Number(wsPort));
  recorder.run();
  if (Number(growthMib)) restartOnceGrown(server, recorder, Number(growthMib));
  // Errors that must end the chain call `fail`. Any other error affects only its request.
  for (const kind of ['uncaughtException', 'unhandledRejection']) {
    process.on(kind, (problem) => console.error(`a request failed: ${problem?.stack ?? problem}`));
  }
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => finish(server, recorder));
  const memory = `it remembers ${journal.accounts.size} accounts and ${journal.past.size} transactions`;
  console.log(`the chain answers on ${rpcPort} (RPC) and ${wsPort} (WebSocket); ${isNew ? 'it is new' : memory}`);
}

/** End the process with EXIT_TO_RESTART once its memory has grown by `mib` MiB, unless the journal cannot be written.
 * Surfpool keeps every transaction in memory, some 7 to 9 KB each, and has no setting that bounds them. */
function restartOnceGrown(server, recorder, mib) {
  const before = process.memoryUsage.rss();
  const watching = setInterval(() => {
    if (process.memoryUsage.rss() - before < mib * MIB || recorder.unwritten) return;
    clearInterval(watching);
    console.log(`the chain has grown by ${mib} MiB: it restarts from its journal, which takes seconds`);
    finish(server, recorder, EXIT_TO_RESTART);
  }, GROWTH_MS);
}

async function finish(server, recorder, status = 0) {
  // No request may be answered while the journal is written: the restart would undo what that request did or showed.
  await closed(server, ANSWERED_MS);
  await recorder.save(true).catch(fail);
  process.exit(status); // the kernel frees the ports faster than Surfnet.stop(), which waits for its servers
}

/** Restore the journal's accounts and programs, then set the clock, so that slots and time never decrease. */
async function restore(chain, call, journal, genesis) {
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
  await jump({ absoluteSlot: shownSlot(journal.clock) + 1 });
  if ((await chainTime(call)) < unixTimestamp) await travel(call, jump, unixTimestamp * 1000, Number(slotMs));
}

/** Return the latest slot that the previous run can have shown to a client, from the clock of its journal. */
function shownSlot({ slot, ended, reserved = slot + Math.ceil(AHEAD_MS / Number(slotMs)) }) {
  return ended ? slot : reserved;
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

function fail(problem) {
  console.error(`the local chain stopped: ${problem.message}`);
  process.exit(1);
}

main().catch(fail);
