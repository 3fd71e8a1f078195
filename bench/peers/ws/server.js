// Fan-out by the package ws: a message to every client, TICKS times a second, MESSAGES each time, as JSON of the same
// length as ours with the moment of sending (CLOCK_MONOTONIC, ns) in it. No compression.
'use strict'

const { WebSocketServer } = require('ws')

const template = process.env.TEMPLATE
const messages = Number(process.env.MESSAGES)
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.env.PORT), perMessageDeflate: false })

function tick() {
  for (let n = 0; n < messages; n += 1) {
    const stamp = String(process.hrtime.bigint()).padStart(19, '0')
    const data = Buffer.from(template.replace('SENT_AT_NANOSECONDS', stamp))
    for (const client of server.clients) {
      if (client.readyState === 1) client.send(data, { binary: false })
    }
  }
}

setInterval(tick, 1000 / Number(process.env.TICKS))
