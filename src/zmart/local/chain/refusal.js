'use strict';

/** Return an Error that a client gets as a JSON-RPC error with this code, message and data. */
function refusal(code, message, data) {
  return Object.assign(new Error(message), { rpc: { code, message, ...(data && { data }) } });
}

/** The signature under which Surfpool files every transaction that its runtime refused, such as one with an unknown
 * blockhash, whatever its own signature is. On a validator a refused transaction leaves no trace. */
const REFUSED = '1'.repeat(64);

module.exports = { REFUSED, refusal };
