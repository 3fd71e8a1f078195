// The gateway's answers by Fastify 5: logger off, queries checked and answers written by compiled JSON schemas
// (fast-json-stringify). `/cached/...` keeps the finished bytes for a second.
'use strict'

const fastify = require('fastify')
const { cachedBody, routes } = require('./answers')

const text = { type: 'string' }
const number = { type: 'number' }
const boolean = { type: 'boolean' }
const moment = { type: 'string', format: 'date-time' }
const orNull = (schema) => ({ ...schema, nullable: true })
const object = (properties) => ({ type: 'object', properties })
const list = (items) => ({ type: 'array', items })

const MARKET = {
  id: text,
  on_chain_address: text,
  question: text,
  description: text,
  category: text,
  tags: list(text),
  text_status: text,
  state: text,
  status: text,
  creator_wallet: text,
  creator: text,
  b_parameter: number,
  liquidity_parameter: number,
  initial_liquidity: number,
  current_liquidity: number,
  shares_yes: number,
  shares_no: number,
  total_yes_shares: number,
  total_no_shares: number,
  current_price_yes: text,
  current_price_no: text,
  total_volume: number,
  total_trades: number,
  traders: number,
  created_at: orNull(moment),
  approved_at: orNull(moment),
  activated_at: orNull(moment),
  resolution_proposed_at: orNull(moment),
  finalize_after: orNull(moment),
  ends_at: orNull(moment),
  finalized_at: orNull(moment),
  cancelled_at: orNull(moment),
  proposed_outcome: orNull(boolean),
  final_outcome: orNull(boolean),
  outcome: orNull(text),
  was_disputed: boolean
}
const TALLY = object({
  votes_for: number,
  votes_against: number,
  total: number,
  bps: number,
  threshold_bps: orNull(number),
  recorded_at: orNull(moment)
})
const DETAIL = {
  ...MARKET,
  resolver: orNull(text),
  question_cid: orNull(text),
  evidence_cid: orNull(text),
  ipfs_evidence_hash: orNull(text),
  proposal: TALLY,
  dispute: TALLY,
  dispute_window: object({
    opens_at: orNull(moment),
    closes_at: orNull(moment),
    initiator: orNull(text),
    initiated_at: orNull(moment),
    voting_ends_at: orNull(moment)
  }),
  accumulated_fees: object({ protocol: number, resolver: number, liquidity_provider: number }),
  claimed_shares: number,
  pricing_model: text,
  created_slot: number,
  updated_slot: number,
  vote_rules: list(object({ kind: text, rule: text, words: text, min_votes: number, fixed: boolean })),
  dispute_review: orNull(
    object({ waits: boolean, reasons: list(text), raised_at: moment, released_at: orNull(moment) })
  )
}
const TRADE = {
  id: text,
  market_id: text,
  user: text,
  user_wallet: text,
  trade_type: text,
  outcome: text,
  outcome_bool: boolean,
  shares: number,
  cost: number,
  fees: number,
  price_after: text,
  tx_signature: text,
  slot: number,
  timestamp: moment,
  created_at: moment
}
const CANDLE = {
  timestamp: moment,
  open_price_yes: text,
  high_price_yes: text,
  low_price_yes: text,
  close_price_yes: text,
  volume: number,
  trades: number
}
const ANSWERS = {
  '/markets': object({
    markets: list(object(MARKET)), count: number, offset: number, limit: number, next_cursor: orNull(text)
  }),
  '/markets/:id': object(DETAIL),
  '/markets/:id/trades': object({
    trades: list(object(TRADE)), count: number, market_id: text, next_cursor: orNull(text)
  }),
  '/markets/:id/candles': object({
    market_id: text, interval: text, start: moment, end: moment, candles: list(object(CANDLE)), count: number
  })
}
const QUERY = object({
  limit: { type: 'integer', minimum: 1, maximum: 200 },
  offset: { type: 'integer', minimum: 0 },
  interval: { type: 'string', enum: ['1m', '5m', '1h', '1d'] }
})

const app = fastify({ logger: false, disableRequestLogging: true })
for (const [path, answer] of Object.entries(routes)) {
  const schema = { querystring: QUERY, response: { 200: ANSWERS[path] } }
  app.get('/api' + path, { schema }, async (request, reply) => {
    const body = await answer(request.params.id, request.query)
    if (body === null) reply.code(404)
    return body === null ? { error: 'Not Found' } : body
  })
  app.get('/cached/api' + path, { schema }, async (request, reply) => {
    const body = await cachedBody(request.url, async () => {
      const write = reply.compileSerializationSchema(ANSWERS[path])
      return write(await answer(request.params.id, request.query))
    })
    reply.header('content-type', 'application/json; charset=utf-8')
    return body
  })
}
app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
