// The gateway's answers from the same statements by pg: named prepared statements, values parsed in the cheapest way that
// gives the same JSON. The statements come from the benchmark, so that all sides run the same ones. Each answer is a
// function of a market's id (undefined for lists) and the parsed query; null when there is no such market.
'use strict'

const pg = require('pg')

const INT8 = 20
const NUMERIC = 1700
pg.types.setTypeParser(INT8, Number)
pg.types.setTypeParser(NUMERIC, Number)

const statements = JSON.parse(process.env.STATEMENTS)
const terms = JSON.parse(process.env.TERMS)
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: Number(process.env.POOL_SIZE) })
const query = (name, values) => pool.query({ name, text: statements[name], values }).then((result) => result.rows)

const e9 = (value) => {
  const text = String(value).padStart(10, '0')
  return text.slice(0, -9) + '.' + text.slice(-9)
}
const later = (moment, seconds) => (moment === null ? null : new Date(moment.getTime() + seconds * 1000))

function finalizeAfter(row) {
  if (row.state === 'DISPUTED') return later(row.dispute_initiated_at, terms.disputed_due_s)
  if (row.state === 'RESOLVING') return later(row.resolution_proposed_at, terms.window_s)
  return null
}

// Schemas differ by commit: an outcome is a boolean or a word.
const isYes = (value) => (value === null || value === 'INVALID' ? null : value === true || value === 'YES')

function outcome(row) {
  const value = isYes(row.state === 'FINALIZED' ? row.final_outcome : row.proposed_outcome)
  if (value === null) return row.state === 'FINALIZED' ? 'INVALID' : null
  return value ? 'YES' : 'NO'
}

const market = (row) => ({
  id: row.market_id,
  on_chain_address: row.address,
  question: row.question,
  description: row.description,
  category: row.category,
  tags: row.tags,
  text_status: row.text_status,
  state: row.state,
  status: row.state,
  creator_wallet: row.creator,
  creator: row.creator,
  b_parameter: row.b_parameter,
  liquidity_parameter: row.b_parameter,
  initial_liquidity: row.initial_liquidity,
  current_liquidity: row.current_liquidity,
  shares_yes: row.shares_yes,
  shares_no: row.shares_no,
  total_yes_shares: row.shares_yes,
  total_no_shares: row.shares_no,
  current_price_yes: e9(row.price_yes_e9),
  current_price_no: e9(1e9 - row.price_yes_e9),
  total_volume: row.total_volume,
  total_trades: row.trades_count,
  traders: row.traders,
  created_at: row.created_at,
  approved_at: row.approved_at,
  activated_at: row.activated_at,
  resolution_proposed_at: row.resolution_proposed_at,
  finalize_after: finalizeAfter(row),
  ends_at: row.ends_at,
  finalized_at: row.finalized_at,
  cancelled_at: row.cancelled_at,
  proposed_outcome: isYes(row.proposed_outcome),
  final_outcome: isYes(row.final_outcome),
  outcome: outcome(row),
  was_disputed: row.was_disputed
})

function tally(votesFor, against, threshold, at) {
  const total = votesFor + against
  return {
    votes_for: votesFor,
    votes_against: against,
    total,
    bps: total === 0 ? 0 : Math.floor((votesFor * 10000) / total),
    threshold_bps: threshold,
    recorded_at: at
  }
}

const detail = (row) => ({
  ...market(row),
  resolver: row.resolver,
  question_cid: row.question_cid,
  evidence_cid: row.evidence_cid,
  ipfs_evidence_hash: row.evidence_cid,
  proposal: tally(row.proposal_likes, row.proposal_dislikes, terms.approval_bps, row.proposal_aggregated_at),
  dispute: tally(row.dispute_agree, row.dispute_disagree, terms.dispute_bps, null),
  dispute_window: {
    opens_at: row.resolution_proposed_at,
    closes_at: later(row.resolution_proposed_at, terms.dispute_period_s),
    initiator: row.dispute_initiator,
    initiated_at: row.dispute_initiated_at,
    voting_ends_at: later(row.dispute_initiated_at, terms.voting_s)
  },
  accumulated_fees: {
    protocol: row.accumulated_protocol_fees,
    resolver: row.accumulated_resolver_fees,
    liquidity_provider: row.accumulated_lp_fees
  },
  claimed_shares: row.claimed_shares,
  pricing_model: terms.pricing_model,
  created_slot: row.created_slot,
  updated_slot: row.updated_slot
})

const trade = (row) => ({
  id: row.signature + ':' + row.ordinal,
  market_id: row.market_id,
  user: row.wallet,
  user_wallet: row.wallet,
  trade_type: row.side,
  outcome: isYes(row.outcome) ? 'YES' : 'NO',
  outcome_bool: isYes(row.outcome),
  shares: row.shares,
  cost: row.cost_lamports,
  fees: row.protocol_fee_lamports + row.resolver_fee_lamports + row.lp_fee_lamports,
  price_after: e9(row.price_yes_after_e9),
  tx_signature: row.signature,
  slot: row.slot,
  timestamp: row.traded_at,
  created_at: row.traded_at
})

async function markets(_, { limit = 20, offset = 0 }) {
  const rows = await query('page', [limit + 1, offset])
  const more = rows.length > limit
  const last = rows[limit - 1]
  const key = more ? Buffer.from(JSON.stringify([last.created_at, last.market_id])).toString('base64url') : null
  return { markets: rows.slice(0, limit).map(market), count: terms.markets, offset, limit, next_cursor: key }
}

// Who may vote by the rules that are fixed for the market, else by the settings; the review of its dispute.
function voting(row) {
  const vote_rules = terms.vote_rules.map((usual) => {
    const rule = row[usual.kind + '_rule']
    return rule === null ? usual : { ...usual, rule, min_votes: row[usual.kind + '_min_votes'], fixed: true }
  })
  const { review_reasons: reasons, review_raised_at: raised_at, review_released_at: released_at } = row
  const dispute_review = reasons === null ? null : { waits: released_at === null, reasons, raised_at, released_at }
  return { vote_rules, dispute_review }
}

async function oneMarket(id) {
  const rows = await query('one', [id])
  if (rows.length === 0) return null
  return terms.vote_rules === undefined ? detail(rows[0]) : { ...detail(rows[0]), ...voting(rows[0]) }
}

async function trades(id, { limit = 50, offset = 0 }) {
  const known = await query('exists', [id])
  if (known.length === 0) return null
  const rows = await query('trades', [id, limit + 1, offset])
  const more = rows.length > limit
  const page = rows.slice(0, limit)
  const last = page[page.length - 1]
  const place = more ? [last.slot, last.index_in_block, last.ordinal] : null
  return {
    trades: page.reverse().map(trade),
    count: page.length,
    market_id: id,
    next_cursor: place && Buffer.from(JSON.stringify(place)).toString('base64url')
  }
}

const STEPS = { '1m': 60, '5m': 300, '1h': 3600, '1d': 86400 }

async function chart(id, until, step) {
  const first = Math.floor(Math.floor(until - step * 200) / step) * step
  const last = Math.ceil(Math.floor(until) / step) * step
  const window = { start: new Date(first * 1000), end: new Date(last * 1000) }
  return { first, last, window, rows: await query('candles', [id, window.start, window.end, step]) }
}

async function candles(id, { interval = '1h' }) {
  const step = STEPS[interval]
  let read = await chart(id, Date.now() / 1000, step)
  if (read.rows.length === 0) return null
  const ended = read.rows[0].ended_at
  if (ended !== null) read = await chart(id, ended.getTime() / 1000, step)
  const row = read.rows[0]
  const answer = { market_id: row.market_id, interval, ...read.window, candles: [], count: 0 }
  if (row.activated_at === null) return answer
  const first = Math.max(read.first, Math.floor(Math.floor(row.activated_at.getTime() / 1000) / step) * step)
  const traded = new Map()
  let price = 5e8
  for (const each of read.rows) {
    if (each.start_s !== null) traded.set(each.start_s, each)
    else if (each.close_e9 !== null) price = each.close_e9
  }
  for (let moment = first; moment < read.last; moment += step) {
    const found = traded.get(moment)
    const flat = { open_e9: price, high_e9: price, low_e9: price, close_e9: price, volume: 0, trades: 0 }
    const each = found === undefined ? flat : found
    price = each.close_e9
    answer.candles.push({
      timestamp: new Date(moment * 1000),
      open_price_yes: e9(each.open_e9),
      high_price_yes: e9(each.high_e9),
      low_price_yes: e9(each.low_e9),
      close_price_yes: e9(each.close_e9),
      volume: each.volume,
      trades: each.trades
    })
  }
  answer.count = answer.candles.length
  return answer
}

const CACHE_MS = 1000
const cachedBodies = new Map()

// The finished bytes of each address, kept for a second: the plainest in-memory cache. A change is seen a second late.
async function cachedBody(url, render) {
  let held = cachedBodies.get(url)
  if (held === undefined || held.until < Date.now()) {
    held = { body: Buffer.from(await render()), until: Date.now() + CACHE_MS }
    cachedBodies.set(url, held)
  }
  return held.body
}

module.exports = {
  cachedBody,
  routes: { '/markets': markets, '/markets/:id': oneMarket, '/markets/:id/trades': trades, '/markets/:id/candles': candles }
}
