'use strict';

/** An error that is answered as a JSON-RPC error. */
function refusal(code, message, data) {
  return Object.assign(new Error(message), { rpc: { code, message, ...(data && { data }) } });
}

module.exports = { refusal };
