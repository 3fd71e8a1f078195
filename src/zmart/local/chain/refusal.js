'use strict';

/** Return an Error that a client gets as a JSON-RPC error with this code, message and data. */
function refusal(code, message, data) {
  return Object.assign(new Error(message), { rpc: { code, message, ...(data && { data }) } });
}

module.exports = { refusal };
