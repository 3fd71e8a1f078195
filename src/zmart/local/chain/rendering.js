'use strict';
// Return a transaction in the requested encoding, and only in a version that the client accepts.
const { refusal } = require('./refusal.js');

const ANY_VERSION = 255;

/** The options for Surfpool: every version, since `readable` checks it afterwards, with a validator's error. */
function forAnyVersion(options) {
  const known = typeof options === 'string' ? { encoding: options } : options;
  return { ...known, maxSupportedTransactionVersion: ANY_VERSION };
}

/** `shown` (an object with `version`) for a client with these options. Raises -32015 like a validator. */
function readable(shown, options) {
  const most = options?.maxSupportedTransactionVersion ?? null;
  const { version, ...older } = shown;
  if (most === null && version === 'legacy') return older;
  if (version === 'legacy' || (most !== null && version <= most)) return shown;
  throw refusal(-32015, `Transaction version (${version}) is not supported by the requesting client. Please try the `
    + `request again with the following configuration parameter: "maxSupportedTransactionVersion": ${version}`);
}

/** A transaction of the journal, in the requested encoding. */
function encoded(record, options) {
  const encoding = typeof options === 'string' ? options : options?.encoding ?? 'json';
  if (encoding === 'json') return record.json;
  if (encoding === 'base64') return [record.base64, 'base64'];
  throw refusal(-32602, `what happened before the chain's last restart is kept as json and base64, not as ${encoding}`);
}

module.exports = { ANY_VERSION, encoded, forAnyVersion, readable };
