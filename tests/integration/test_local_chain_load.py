"""The local chain loads many accounts over Surfpool's WebSocket."""

from __future__ import annotations

from pathlib import Path

from kit.chain_journal import run_script

# A server as Surfpool's, whose load is over at once. `ended`: the client has closed its connection by the time at which
# two requests that it sent after the load have been answered.
SCRIPT = """
const http = require('http');
const { loadAccounts } = require(`${process.argv[2]}/snapshot.js`);
const message = JSON.stringify({ accounts_loaded: 1, status: 'Completed' });
let ended = null;
const server = http.createServer((request, response) => response.end());
server.on('upgrade', (request, socket) => {
  ended = false;
  for (const event of ['end', 'close', 'error']) socket.on(event, () => { ended = true; });
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: upgrade\\r\\n\\r\\n');
  const frame = Buffer.concat([Buffer.from([0x81, message.length]), Buffer.from(message)]);
  socket.once('data', () => socket.write(frame));
});
server.listen(0, '127.0.0.1', async () => {
  const at = `127.0.0.1:${server.address().port}`;
  const account = { lamports: 1, owner: '11111111111111111111111111111111', data: '', executable: false };
  const loaded = await loadAccounts(`ws://${at}`, { 11111111111111111111111111111112: account });
  for (let n = 0; n < 2; n += 1) await (await fetch(`http://${at}/`)).text();
  console.log(JSON.stringify({ loaded, ended }));
  process.exit(0);
});
"""


def test_the_connection_of_a_load_stays_open(tmp_path: Path) -> None:
    """C3: Surfpool is still sending when a load is complete. When the connection was closed then, its WebSocket server
    accepted no other connection any more after some starts, and the chain was started a second time."""
    assert run_script(SCRIPT, tmp_path / "load") == '{"loaded":true,"ended":false}\n'
