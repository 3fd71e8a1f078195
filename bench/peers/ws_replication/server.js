// The rows of a publication come by logical replication (pgoutput); this server sends each as JSON.
'use strict'

const { LogicalReplicationService, PgoutputPlugin } = require('pg-logical-replication')
const { broadcaster } = require('./broadcast.js')

async function main() {
  const service = new LogicalReplicationService(
    { connectionString: process.env.DATABASE_URL },
    { acknowledge: { auto: true, timeoutSeconds: 10 } },
  )
  const send = broadcaster(Number(process.env.PORT))
  let committed = null
  service.on('data', (lsn, change) => {
    if (change.tag === 'begin') committed = String(change.commitTime)
    if (change.tag !== 'insert') return
    const { relation, new: record } = change
    send(JSON.stringify({ type: 'INSERT', schema: relation.schema, table: relation.name, committed, record }))
  })
  await service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: ['changes'] }), 'changes')
}

main()
