// The gateway's answers by Express 4: no ETag, no X-Powered-By, the quick parser of queries. `/cached/...` keeps the
// finished bytes for a second.
'use strict'

const express = require('express')
const { cachedBody, routes } = require('./answers')

function parsed(query) {
  const numbers = {}
  if (query.limit !== undefined) numbers.limit = Math.min(Number(query.limit), 200)
  if (query.offset !== undefined) numbers.offset = Number(query.offset)
  if (query.interval !== undefined) numbers.interval = query.interval
  return numbers
}

const fromDatabase = (answer) => async (request, response, next) => {
  try {
    const body = await answer(request.params.id, parsed(request.query))
    if (body === null) response.status(404).json({ error: 'Not Found' })
    else response.json(body)
  } catch (problem) {
    next(problem)
  }
}

const cached = (answer) => async (request, response, next) => {
  try {
    const render = async () => JSON.stringify(await answer(request.params.id, parsed(request.query)))
    const body = await cachedBody(request.url, render)
    response.setHeader('Content-Type', 'application/json; charset=utf-8')
    response.send(body)
  } catch (problem) {
    next(problem)
  }
}

const app = express()
app.set('etag', false)
app.set('x-powered-by', false)
app.set('query parser', 'simple')
for (const [path, answer] of Object.entries(routes)) {
  app.get('/api' + path, fromDatabase(answer))
  app.get('/cached/api' + path, cached(answer))
}
app.listen(Number(process.env.PORT), '127.0.0.1')
