// A message to every client of a port, by the package ws: one buffer for all, no compression.
'use strict'

const { WebSocketServer } = require('ws')

const BACKLOG = 4096

function broadcaster(port) {
  const server = new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false, backlog: BACKLOG })
  return (text) => {
    const data = Buffer.from(text)
    for (const client of server.clients) {
      if (client.readyState === 1) client.send(data, { binary: false })
    }
  }
}

module.exports = { broadcaster }
