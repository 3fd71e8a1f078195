'use strict';
// Transactions on their way to Surfpool: looked at before its runtime is, and told when that has ended.
const { base58, fromBase58 } = require('./base58.js');
const { Malformed, isSane, readTransaction } = require('./wire.js');
const { refusal } = require('./refusal.js');

const MOST_BASE58_CHARACTERS = 5594; // 4,096 bytes: what is longer, Surfpool refuses before it reads it
const UNSANITARY = 'invalid transaction: Transaction failed to sanitize accounts offsets correctly';
// What Surfpool answers once the thread of its runtime has panicked: it takes nothing more, and says so of every one.
const RUNTIME_ENDED = /disconnected channel|^Node is unhealthy/;

/** The methods that take transactions, as {name: async (call, params) => result}. `ended(error)` hears of it when the
 * runtime no longer runs. */
function sendingMethods(journal, ended) {
  /** Raises what a validator answers for bytes that are no transaction, or one that is not sound. */
  function check(text, encoding) {
    const bytes = decoded(text, encoding);
    if (bytes === null) return; // Surfpool says what is wrong with it
    const transaction = read(bytes);
    if (!isSane(transaction)) throw refusal(-32602, UNSANITARY);
    // Surfpool gives every run the same blockhashes: a transaction of the run before must not happen again.
    if (journal.past.has(base58(transaction.signatures[0]))) throw alreadyProcessed();
  }

  async function passedOn(call, params) {
    try {
      return await call(...params);
    } catch (problem) {
      if (RUNTIME_ENDED.test(problem.rpc?.message)) ended(new Error(`Surfpool's runtime ended: ${problem.message}`));
      throw problem;
    }
  }

  const sendTransaction = async (call, params) => {
    check(params[0], params[1]?.encoding);
    return passedOn(call, params);
  };

  const sendBundle = async (call, params) => {
    if (Array.isArray(params[0])) for (const text of params[0]) check(text, params[1]?.encoding);
    return passedOn(call, params);
  };

  const simulateTransaction = async (call, params) => {
    const bytes = decoded(params[0], params[1]?.encoding);
    if (bytes !== null && !isSane(read(bytes))) throw refusal(-32602, UNSANITARY);
    return call(...params);
  };

  return { sendTransaction, sendBundle, simulateTransaction };
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

/** The bytes of a transaction; null where Surfpool itself refuses to read them. */
function decoded(text, encoding = 'base58') {
  if (typeof text !== 'string') return null;
  if (encoding === 'base64') return Buffer.from(text, 'base64');
  return encoding === 'base58' && text.length <= MOST_BASE58_CHARACTERS ? fromBase58(text) : null;
}

function alreadyProcessed() {
  const message = 'Transaction simulation failed: This transaction has already been processed';
  return refusal(-32002, message, { err: 'AlreadyProcessed', accounts: null, logs: [] });
}

module.exports = { sendingMethods };
