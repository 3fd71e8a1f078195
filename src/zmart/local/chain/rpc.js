'use strict';
// Serve the chain's JSON-RPC and WebSocket on fixed ports: Surfpool chooses other ports at every start.
const http = require('http');
const net = require('net');

const LONGEST_CALL_MS = 30000; // a call of Surfpool that takes longer fails the client's request
// A burst of requests opens many connections to Surfpool: close those that were idle for longer than a call may take.
const agent = new http.Agent({ keepAlive: true, maxSockets: 128, timeout: LONGEST_CALL_MS + 5000 });
const MOST_CALLS = 1000; // in one batch
const HTTP_LIMITS = { headersTimeout: 10000, requestTimeout: 30000, connectionsCheckingInterval: 1000 };
const SILENT_MS = LONGEST_CALL_MS + 5000; // how long a client may neither send nor read
const UNREAD_MS = 20000; // how long data on the WebSocket may wait for its client to read it
const MOST_SOCKETS = 1000;
const MOST_BODY_BYTES = 64 * 1024 * 1024; // surfnet_writeProgram sends whole programs
const HEADERS = {
  'content-type': 'application/json',
  'access-control-allow-origin': '*',
  'access-control-allow-headers': '*',
  'access-control-allow-methods': 'POST, GET, OPTIONS',
};

/** Send `body` to Surfpool; resolves to the text of its answer. Rejects after LONGEST_CALL_MS. */
function post(url, body) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const signal = AbortSignal.timeout(LONGEST_CALL_MS);
    const request = http.request(url, { method: 'POST', agent, headers, signal }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
      answer.on('error', (problem) => reject(signal.aborted ? late() : problem));
    });
    request.on('error', (problem) => reject(signal.aborted ? late() : problem));
    request.end(body);
  });
}

const late = () => new Error(`Surfpool did not answer in ${LONGEST_CALL_MS / 1000} s`);

const failed = (id, { rpc, message }) => ({ jsonrpc: '2.0', error: rpc ?? { code: -32603, message }, id });

async function bodyOf(request) {
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > MOST_BODY_BYTES) {
      throw Object.assign(new Error(`a request may have ${MOST_BODY_BYTES} bytes`), { status: 413 });
    }
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** `call(method, ...params)` resolves to the result. It rejects with an error that has the method as `asked` and, if
 * Surfpool answered with an error, this JSON-RPC error as `rpc`. */
function caller(url) {
  return async (method, ...params) => {
    try {
      const answer = JSON.parse(await post(url, JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
      if (answer.error) throw Object.assign(new Error(`${method}: ${answer.error.message}`), { rpc: answer.error });
      if (answer.result === undefined) throw new Error(`${method}: the chain answered without a result`);
      return answer.result;
    } catch (problem) {
      throw Object.assign(problem, { asked: method });
    }
  };
}

/** Serve JSON-RPC on `port` of `host`; resolves to the server. `current()` returns the Run that answers: the functions
 * in its `special` answer their methods; all other methods go to Surfpool at its `url`, those in `guarded` only after
 * their guard's check. Requests wait at `gate`. */
function serveRpc(current, gate, host, port) {
  const isSpecial = (request) => Object.hasOwn(current().special, request?.method);
  const isGuarded = (request) => Object.hasOwn(current().guarded, request?.method);

  async function answerSpecial({ id = null, method, params = [] }) {
    const { call, special } = current();
    try {
      const result = (await special[method]((...asked) => call(method, ...asked), params)) ?? null;
      return { jsonrpc: '2.0', result, id };
    } catch (problem) {
      return failed(id, problem);
    }
  }

  async function answerGuarded(request, text) {
    const { id = null, method, params = [] } = request;
    const { guarded, url } = current();
    const guard = guarded[method];
    try {
      guard.before(params);
      const instead = await guard.instead?.(params);
      if (instead) return instead.edit(await post(url, JSON.stringify({ ...request, params: instead.params })));
      const answer = await post(url, text);
      guard.after(answer);
      return answer;
    } catch (problem) {
      return JSON.stringify(failed(id, problem));
    }
  }

  // Responses of Surfpool are passed on as text: numbers above 2^53 would lose digits in JavaScript.
  async function answerOne(request, text) {
    if (isSpecial(request)) return JSON.stringify(await answerSpecial(request));
    return isGuarded(request) ? answerGuarded(request, text) : post(current().url, text);
  }

  async function answer(text) {
    const { url } = current();
    let request;
    try { request = JSON.parse(text); } catch { return post(url, text); }
    if (!Array.isArray(request)) return answerOne(request, text);
    if (request.length > MOST_CALLS) {
      throw Object.assign(new Error(`a batch may have ${MOST_CALLS} calls`), { status: 413 });
    }
    if (!request.length) return post(url, text);
    return `[${(await Promise.all(request.map((one) => answerOne(one, JSON.stringify(one))))).join()}]`;
  }

  /** Answer one HTTP request. An error of a call affects only its own request. */
  async function respond(request, response) {
    try {
      const isCall = request.method === 'POST';
      const body = isCall ? await bodyOf(request) : '';
      const text = isCall ? await gate.pass(() => answer(body)) : 'ok';
      response.writeHead(200, server.listening ? HEADERS : { ...HEADERS, connection: 'close' }).end(text);
    } catch (problem) {
      response.writeHead(problem.status ?? 502, HEADERS).end(problem.message);
    }
  }

  const server = http.createServer(HTTP_LIMITS, respond);
  server.setTimeout(SILENT_MS);
  return listening(server, host, port);
}

/** Forward TCP connections on `port` of `host` to the local port that `target()` resolves to, Surfpool's WebSocket.
 * Resolves to the server, whose closeAll() ends the connections. A client that does not read for `unreadMs` is
 * disconnected: Surfpool would queue messages for it without limit. */
function forward(target, host, port, unreadMs = UNREAD_MS) {
  const ends = new Set();
  const server = net.createServer(async (client) => {
    client.on('error', () => client.destroy());
    const inner = net.connect(await target(), '127.0.0.1');
    const end = () => { client.destroy(); inner.destroy(); ends.delete(end); };
    ends.add(end);
    for (const socket of [client, inner]) {
      socket.setNoDelay(true);
      socket.on('error', end);
    }
    client.on('close', end);
    if (client.destroyed) return end();
    client.pipe(inner).pipe(client);
    endWhenUnread(client, unreadMs, end);
  });
  server.closeAll = () => { for (const end of ends) end(); };
  server.maxConnections = MOST_SOCKETS;
  return listening(server, host, port);
}

/** Call `end` once data has waited for `client` for `unreadMs` and the client has read none of it. */
function endWhenUnread(client, unreadMs, end) {
  let read = 0;
  let since = Date.now();
  const watch = setInterval(() => {
    const now = client.bytesWritten - client.writableLength;
    if (now !== read || client.writableLength === 0) [read, since] = [now, Date.now()];
    else if (Date.now() - since >= unreadMs) end();
  }, unreadMs / 10);
  client.on('close', () => clearInterval(watch));
}

function listening(server, host, port) {
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, host, () => resolve(server));
  });
}

/** Accept no more requests; resolves once the requests under way are answered, or after `withinMs`. */
async function closed(server, withinMs) {
  const answered = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, withinMs))]);
  server.closeAllConnections();
}

module.exports = { caller, closed, serveRpc, forward };
