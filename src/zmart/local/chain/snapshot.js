'use strict';
// Load many accounts at once: Surfpool's method snapshotSubscribe fetches them from a URL that this process serves.
const crypto = require('crypto');
const http = require('http');

const LONGEST_LOAD_MS = 60000;
const HANDSHAKE_MS = 2000;
const ENDED = /"accounts_loaded":(\d+),[^{}]*"status":"(Completed|Failed)"/;

/** Load `accounts`, {address: {lamports, owner, data (base64), executable}}, into Surfpool at `wsUrl`. Resolves to
 * whether all of them were loaded. */
async function loadAccounts(wsUrl, accounts) {
  const count = Object.keys(accounts).length;
  if (!count) return true;
  const rows = Object.entries(accounts).map(([address, account]) => [address, { ...account, rentEpoch: 0 }]);
  const body = JSON.stringify(Object.fromEntries(rows));
  const server = http.createServer((request, response) => response.end(body));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  try {
    const reply = await subscribed(wsUrl, 'snapshotSubscribe', `http://127.0.0.1:${server.address().port}/accounts`);
    return reply?.[2] === 'Completed' && Number(reply[1]) === count;
  } finally {
    server.close();
  }
}

/** Subscribe with `method`, and resolve to the match of ENDED in the notifications; to null after an error, the end of
 * the connection or LONGEST_LOAD_MS. After a match the connection stays open: Surfpool is still sending then, and when
 * it was closed at once, its WebSocket server accepted nothing any more after one load in six of 3,000 accounts. */
function subscribed(wsUrl, method, ...params) {
  return new Promise((resolve) => {
    const end = (match) => { clearTimeout(timer); request.destroy(); resolve(match); };
    const timer = setTimeout(() => end(null), LONGEST_LOAD_MS);
    const request = handshake(wsUrl, end, (socket) => {
      let text = '';
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1'); // a server does not mask its frames
        const match = ENDED.exec(text);
        if (!match) return;
        clearTimeout(timer);
        socket.removeAllListeners('data').resume();
        resolve(match);
      });
      socket.on('error', () => end(null));
      socket.on('close', () => end(null));
      socket.write(frame(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })));
    });
  });
}

/** Resolve to whether Surfpool's WebSocket server at `wsUrl` still accepts connections. */
function accepts(wsUrl) {
  return new Promise((resolve) => {
    handshake(wsUrl, () => resolve(false), (socket) => { socket.destroy(); resolve(true); });
  });
}

/** Connect to a WebSocket server: call `ready(socket)`, or `failed(null)` after an error or HANDSHAKE_MS. */
function handshake(wsUrl, failed, ready) {
  const request = http.request(wsUrl.replace(/^ws/, 'http'), {
    headers: {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': 13,
      'sec-websocket-key': crypto.randomBytes(16).toString('base64'),
    },
  });
  const late = setTimeout(() => request.destroy(new Error('no handshake')), HANDSHAKE_MS);
  request.on('error', () => { clearTimeout(late); failed(null); });
  request.on('response', () => { clearTimeout(late); failed(null); });
  request.on('upgrade', (response, socket) => { clearTimeout(late); ready(socket); });
  request.end();
  return request;
}

/** Return a WebSocket text frame of less than 64 KiB, masked with zeros. */
function frame(text) {
  const body = Buffer.from(text);
  const length = body.length < 126 ? [0x80 | body.length] : [0x80 | 126, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), body]);
}

module.exports = { accepts, loadAccounts };
