'use strict';
// What a client asked for: a transaction in an encoding, and only in a version that it says it can read.
const { refusal } = require('./refusal.js');

const ANY_VERSION = 255;

/** The options to ask Surfpool with: every version, for `readable` judges afterwards, with a validator's answer. */
function forAnyVersion(options) {
  const known = typeof options === 'string' ? { encoding: options } : options;
  return { ...known, maxSupportedTransactionVersion: ANY_VERSION };
}

/** `shown` (an object with `version`) as a client may see it that gave these options. Raises -32015 as a validator. */
function readable(shown, options) {
  const most = options?.maxSupportedTransactionVersion ?? null;
  const { version, ...older } = shown;
  if (most === null && version === 'legacy') return older;
  if (version === 'legacy' || (most !== null && version <= most)) return shown;
  throw refusal(-32015, `Transaction version (${version}) is not supported by the requesting client. Please try the `
    + `request again with the following configuration parameter: "maxSupportedTransactionVersion": ${version}`);
}

/** A transaction that the journal keeps, in the encoding that was asked for. */
function encoded(record, options) {
  const encoding = typeof options === 'string' ? options : options?.encoding ?? 'json';
  if (encoding === 'json') return record.json;
  if (encoding === 'base64') return [record.base64, 'base64'];
  throw refusal(-32602, `what happened before the chain's last restart is kept as json and base64, not as ${encoding}`);
}

module.exports = { ANY_VERSION, encoded, forAnyVersion, readable };
