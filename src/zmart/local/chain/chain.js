'use strict';
// node chain.js <addon folder> <state folder> <rpc port> <ws port> <slot ms> <host> <growth in MiB, 0: no limit>
//   <transactions after which Surfpool forgets them>
// A Solana chain for one machine: Surfpool on fixed ports, with state that survives restarts.
const path = require('path');
const { chainTime } = require('./clock.js');
const { Gate } = require('./gate.js');
const { Journal } = require('./journal.js');
const { closed, forward, serveRpc } = require('./rpc.js');
const { firstRun, nextRun } = require('./run.js');

const EXIT_TO_RESTART = 75; // exit status (EX_TEMPFAIL of sysexits.h): the parent process starts the chain again
const MIB = 1024 * 1024;
const GROWTH_MS = 2000;
const ANSWERED_MS = 5000;
const RENEW_MS = 1000;
const RENEW_WITHIN_MS = 500;

const [addonFolder, stateFolder, rpcPort, wsPort, slotMs, host, growthMib, renewAfter] = process.argv.slice(2);

async function main() {
  const { Surfnet } = require(path.join(addonFolder, 'node_modules', '@solana', 'surfpool-linux-x64-gnu'));
  const journal = new Journal(stateFolder);
  const isNew = journal.clock === null;
  const chain = { journal, gate: new Gate(), slotMs: Number(slotMs), fail, run: null, renewal: null, isEnding: false };
  chain.run = await firstRun(Surfnet, chain);
  const current = () => chain.run;
  const server = await serveRpc(current, chain.gate, host, Number(rpcPort));
  const sockets = await forward(() => chain.gate.pass(async () => current().wsPort), host, Number(wsPort));
  chain.run.recorder.run();
  setInterval(() => renewIfFull(chain, sockets), RENEW_MS);
  if (Number(growthMib)) restartOnceGrown(server, chain, Number(growthMib));
  // Errors that must end the chain call `fail`. Any other error affects only its request.
  for (const kind of ['uncaughtException', 'unhandledRejection']) {
    process.on(kind, (problem) => console.error(`a request failed: ${problem?.stack ?? problem}`));
  }
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => finish(server, chain));
  const memory = `it remembers ${journal.accounts.size} accounts and ${journal.past.size} transactions`;
  console.log(`the chain answers on ${rpcPort} (RPC) and ${wsPort} (WebSocket); ${isNew ? 'it is new' : memory}`);
}

/** After many transactions let Surfpool forget them and continue with the state of the journal, while requests wait:
 * Surfpool keeps every transaction in memory, some 7 to 9 KB each, and copies all of them for each instruction that it
 * executes. Connections to the WebSocket are closed. It is tried again later while requests stay under way, time
 * travels, or the journal cannot be written. */
async function renewIfFull(chain, sockets) {
  const { present, accounts } = chain.journal;
  // To restore an account takes a millisecond.
  const isFull = present.length >= Math.max(Number(renewAfter), accounts.size / 2);
  if (!isFull || chain.isEnding || chain.renewal || chain.run.recorder.travels) return;
  chain.renewal = chain.gate.pass(() => chain.gate.alone(() => renew(chain, sockets), RENEW_WITHIN_MS)).catch(restart);
  await chain.renewal;
  chain.renewal = null;
}

async function renew(chain, sockets) {
  const { recorder, call } = chain.run;
  if (chain.gate.underWay || recorder.travels || !(await isWritten(recorder))) return;
  const [began, timeS] = [Date.now(), await chainTime(call)];
  sockets.closeAll();
  const ended = await chain.run.end();
  if (!ended) return;
  chain.run = await nextRun(ended, chain);
  chain.run.recorder.run();
  const [tookMs, movedS] = [Date.now() - began, (await chainTime(call)) - timeS];
  console.log(`Surfpool has forgotten its transactions, in ${tookMs} ms; the chain's time moved by ${movedS} s`);
}

/** Return whether all executed transactions are in the journal; write them first. */
async function isWritten(recorder) {
  await recorder.flush();
  return !recorder.unwritten && !recorder.pending.size;
}

/** End the process with EXIT_TO_RESTART once its memory has grown by `mib` MiB, unless the journal cannot be written. */
function restartOnceGrown(server, chain, mib) {
  const before = process.memoryUsage.rss();
  const watching = setInterval(() => {
    if (process.memoryUsage.rss() - before < mib * MIB || chain.run.recorder.unwritten) return;
    clearInterval(watching);
    console.log(`the chain has grown by ${mib} MiB: it restarts from its journal, which takes seconds`);
    finish(server, chain, EXIT_TO_RESTART);
  }, GROWTH_MS);
}

async function finish(server, chain, status = 0) {
  // No request may be answered while the journal is written: the restart would undo what that request did or showed.
  chain.isEnding = true;
  await closed(server, ANSWERED_MS);
  await chain.renewal;
  await chain.run.recorder.save(true).catch(fail);
  process.exit(status); // the kernel frees the ports faster than Surfnet.stop(), which waits for its servers
}

/** End the process after a failed renewal: the next start restores the chain from the journal, which has everything. */
function restart(problem) {
  console.error(`the local chain restarts: ${problem.message}`);
  process.exit(EXIT_TO_RESTART);
}

function fail(problem) {
  console.error(`the local chain stopped: ${problem.message}`);
  process.exit(1);
}

main().catch(fail);
