'use strict';
// Check transactions before they reach Surfpool's runtime, and report when the runtime has ended.
const { base58, fromBase58 } = require('./base58.js');
const { isSurfpools } = require('./blockhashes.js');
const { Malformed, isSane, readTransaction } = require('./wire.js');
const { refusal } = require('./refusal.js');

const MOST_BASE58_CHARACTERS = 5594; // of 4,096 bytes: Surfpool refuses a longer text without decoding it
const UNHEALTHY = -32005;
const UNSANITARY = 'invalid transaction: Transaction failed to sanitize accounts offsets correctly';
const REASONS = {
  AlreadyProcessed: 'This transaction has already been processed',
  BlockhashNotFound: 'Blockhash not found',
};
// Surfpool's error for every transaction after the thread of its runtime has panicked.
const RUNTIME_ENDED = /"message":"(Node is unhealthy|[^"]*disconnected channel)"/;

// The position and encoding of transactions in the parameters of each method.
const SENDING = {
  sendTransaction: ([text, options]) => [[text], options?.encoding],
  sendBundle: ([encoded, options]) => [encoded, options?.encoding],
};
const SIMULATING = {
  simulateTransaction: ([text, options]) => [[text], options?.encoding],
  simulateBundle: ([bundle, options]) => [bundle?.encodedTransactions, options?.transactionEncoding ?? 'base64'],
  surfnet_profileTransaction: ([text]) => [[text], 'base64'],
};

/** Return guards of the methods that take transactions, as {name: {before(params), after(answer), instead(params)}}.
 * `before` throws the error that a client gets instead of Surfpool's answer. `instead`, if there is one, resolves to
 * null, or to {params, edit}: parameters to call Surfpool with instead, and a function that edits its answer's text.
 * `ended(error)` is called when the runtime no longer runs. `unwritten()` returns why the journal cannot be written now,
 * or null. Nothing may be sent while it cannot: a kill would undo the transaction. `latest()` resolves to the newest
 * blockhash for clients, as {blockhash, lastValidBlockHeight}. */
function guards(journal, ended, unwritten = () => null, latest = null) {
  const simulating = (where) => ({ before: (params) => { sound(...where(named(params))); }, after: () => {} });

  const sending = (where) => ({
    before(params) {
      if (unwritten()) throw refusal(UNHEALTHY, `Node is unhealthy: ${unwritten()}`);
      for (const { signatures: [signature], blockhash } of sound(...where(named(params)))) {
        // The running Surfpool does not have the transactions of earlier runs, and would execute them again.
        if (journal.past.has(base58(signature))) throw failedSimulation('AlreadyProcessed');
        if (isSurfpools(base58(blockhash))) throw failedSimulation('BlockhashNotFound');
      }
    },
    after(answer) {
      if (RUNTIME_ENDED.test(answer)) ended(new Error(`Surfpool's runtime ended: ${answer}`));
    },
  });

  const guarded = { ...each(SENDING, sending), ...each(SIMULATING, simulating) };
  guarded.simulateTransaction.instead = (params) => withLatestBlockhash(params, latest);
  return guarded;
}

/** Do what replaceRecentBlockhash says, for Surfpool. It would use a blockhash of its own, which it does not find itself
 * when a block was made while the sysvar was rewritten. */
async function withLatestBlockhash([text, options], latest) {
  const bytes = options?.replaceRecentBlockhash && !options.sigVerify ? decoded(text, options.encoding) : null;
  if (bytes === null) return null;
  const replacement = await latest();
  read(bytes).blockhash.set(fromBase58(replacement.blockhash)); // a view of the bytes
  const params = [bytes.toString('base64'), { ...options, encoding: 'base64', replaceRecentBlockhash: false }];
  const member = `"replacementBlockhash":${JSON.stringify(replacement)}`;
  return { params, edit: (answer) => answer.replace('"replacementBlockhash":null', member) };
}

const each = (methods, wrap) => Object.fromEntries(Object.entries(methods).map(([name, where]) => [name, wrap(where)]));

/** Return `params`. Throws -32602 for options that are an array, which Surfpool also takes: values in a fixed order. */
function named(params) {
  if (Array.isArray(params?.[1])) throw refusal(-32602, 'Invalid params: the options must be an object');
  return params;
}

/** Return the transactions that `encoded` holds, without those that Surfpool itself refuses. Throws a validator's
 * error (-32602) for bytes that are not a transaction or an invalid one. */
function sound(encoded, encoding) {
  if (!Array.isArray(encoded)) return [];
  const transactions = encoded.map((text) => decoded(text, encoding)).filter((bytes) => bytes !== null).map(read);
  if (!transactions.every(isSane)) throw refusal(-32602, UNSANITARY);
  return transactions;
}

function read(bytes) {
  try {
    return readTransaction(bytes);
  } catch (problem) {
    if (!(problem instanceof Malformed)) throw problem;
    const what = 'failed to deserialize solana_transaction::versioned::VersionedTransaction';
    throw refusal(-32602, `${what}: ${problem.message}`);
  }
}

/** Return the bytes of an encoded transaction; null for a text or an encoding that Surfpool itself refuses. */
function decoded(text, given) {
  const encoding = given ?? 'base58';
  if (typeof text !== 'string') return null;
  if (encoding === 'base64') return Buffer.from(text, 'base64');
  return encoding === 'base58' && text.length <= MOST_BASE58_CHARACTERS ? fromBase58(text) : null;
}

function failedSimulation(err) {
  return refusal(-32002, `Transaction simulation failed: ${REASONS[err]}`, { err, accounts: null, logs: [] });
}

module.exports = { guards };
