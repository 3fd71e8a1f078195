// The trigger of a table sends each row by NOTIFY; this server passes the payload on.
'use strict'

const { Client } = require('pg')
const { broadcaster } = require('./broadcast.js')

async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL })
  await client.connect()
  const send = broadcaster(Number(process.env.PORT))
  client.on('notification', ({ payload }) => send(payload))
  await client.query('LISTEN changes')
}

main()
