'use strict';
// Return a transaction in the requested encoding, and only in a version that the client accepts.
const { fromBase58 } = require('./base58.js');
const { refusal } = require('./refusal.js');

const ANY_VERSION = 255;
const [COMPUTE_BUDGET, SET_UNIT_PRICE] = ['ComputeBudget111111111111111111111111111111', 3];
const MEMO_PROGRAMS = ['MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr', 'Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo'];

/** Return the options for Surfpool's answer. They accept every version: `readable` checks the version afterwards and
 * throws a validator's error. */
function forAnyVersion(options) {
  const known = typeof options === 'string' ? { encoding: options } : options;
  return { ...known, maxSupportedTransactionVersion: ANY_VERSION };
}

/** Return `result` (an object with `version`) in the form that a client with these options gets. Throws JSON-RPC error
 * -32015 like a validator for a version that the client does not accept. */
function readable(result, options) {
  const most = options?.maxSupportedTransactionVersion ?? null;
  const { version, ...older } = result;
  if (most === null && version === 'legacy') return older;
  if (version === 'legacy' || (most !== null && version <= most)) return result;
  throw refusal(-32015, `Transaction version (${version}) is not supported by the requesting client. Please try the `
    + `request again with the following configuration parameter: "maxSupportedTransactionVersion": ${version}`);
}

/** Return a journal record's transaction in the requested encoding. Throws JSON-RPC error -32602 for an encoding other
 * than json and base64. */
function encoded(record, options) {
  const encoding = typeof options === 'string' ? options : options?.encoding ?? 'json';
  if (encoding === 'json') return record.json;
  if (encoding === 'base64') return [record.base64, 'base64'];
  throw refusal(-32602, `what happened before the chain's last restart is kept as json and base64, not as ${encoding}`);
}

/** Return the compute unit price that a message (in json) sets, in micro-lamports; null for none. */
function priceOf({ accountKeys, instructions }) {
  for (const { programIdIndex, data } of instructions) {
    if (accountKeys[programIdIndex] !== COMPUTE_BUDGET) continue;
    const bytes = fromBase58(data);
    if (bytes[0] === SET_UNIT_PRICE && bytes.length === 9) return Number(bytes.readBigUInt64LE(1));
  }
  return null;
}

/** Return the memos of a message (in json) as a validator lists them, `[bytes] text; ...`; null for none. */
function memoOf({ accountKeys, instructions }) {
  const memos = instructions
    .filter(({ programIdIndex }) => MEMO_PROGRAMS.includes(accountKeys[programIdIndex]))
    .map(({ data }) => fromBase58(data))
    .map((bytes) => `[${bytes.length}] ${text(bytes) ?? '(unparseable)'}`);
  return memos.length ? memos.join('; ') : null;
}

function text(bytes) {
  try { return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes); } catch { return null; }
}

module.exports = { ANY_VERSION, encoded, forAnyVersion, memoOf, priceOf, readable };
