-- Markets, documents, trades, positions, comments and votes by the hundred thousand, as the indexer would have left them.
-- :markets and :trades are replaced. Where a random number decides, its power makes some markets and wallets far busier
-- than most.

CREATE FUNCTION pg_temp.name_of(what text, length integer) RETURNS text LANGUAGE sql AS $$
    SELECT translate(substr(encode(sha256(what::bytea), 'hex') || encode(sha256(('x' || what)::bytea), 'hex'), 1, length), '0', 'z')
$$;

INSERT INTO program_config (admin, backend_authority, protocol_fee_bps, resolver_reward_bps,
    liquidity_provider_fee_bps, proposal_approval_threshold, dispute_success_threshold, min_resolution_delay,
    dispute_period, is_paused, updated_slot)
VALUES (repeat('A', 44), repeat('B', 44), 300, 200, 500, 7000, 6000, 86400, 259200, false, 1);

INSERT INTO index_progress (program_id, genesis_hash, gap_free_through_slot, tip_slot)
VALUES (repeat('P', 44), 'g', 400000000, 400000000);

CREATE TEMP TABLE picked AS
SELECT n, (floor(:markets * power(random(), 3)))::int AS market, (floor(20000 * power(random(), 2)))::int AS wallet,
    random() AS r, random() AS s FROM generate_series(1, :trades) n;

CREATE TEMP TABLE wallets AS SELECT n AS wallet, pg_temp.name_of('wallet ' || n, 44) AS address FROM generate_series(0, 20000) n;

CREATE TEMP TABLE ids AS SELECT n AS market, encode(sha256(('market ' || n)::bytea), 'hex') AS market_id FROM generate_series(0, :markets - 1) n;

INSERT INTO trades (signature, ordinal, market_id, wallet, side, outcome, shares, cost_lamports,
    protocol_fee_lamports, resolver_fee_lamports, lp_fee_lamports, price_yes_after_e9, slot, index_in_block, traded_at)
SELECT pg_temp.name_of('trade ' || p.n, 88), 0, i.market_id, w.address,
    CASE WHEN p.r < 0.7 THEN 'buy' ELSE 'sell' END, CASE WHEN p.s < 0.55 THEN 'yes' ELSE 'no' END, (1 + p.r * 5000000000)::numeric(20, 0),
    (1 + p.r * 2600000000)::bigint, (p.r * 78000000)::bigint, (p.r * 52000000)::bigint, (p.r * 130000000)::bigint,
    (50000000 + p.s * 900000000)::bigint, 300000000 + p.n / 3, p.n % 3, now() - (:trades - p.n) * interval '2.5 s'
FROM picked p JOIN ids i USING (market) JOIN wallets w USING (wallet);

INSERT INTO markets (market_id, address, creator, state, b_parameter, initial_liquidity, current_liquidity,
    shares_yes, shares_no, price_yes_e9, total_volume, trades_count, traders, question_cid, evidence_cid, resolver,
    proposed_outcome, final_outcome, proposal_likes, proposal_dislikes, created_at, proposal_aggregated_at, approved_at,
    activated_at, resolution_proposed_at, dispute_initiated_at, finalized_at, created_slot, updated_slot, events_count)
SELECT i.market_id, pg_temp.name_of('address ' || i.market_id, 44), w.address, s.state, 50000000000, 40000000000, 41000000000,
    coalesce(t.yes, 0), coalesce(t.no, 0), coalesce(t.price, 500000000), coalesce(t.volume, 0), coalesce(t.trades, 0),
    coalesce(t.wallets, 0), 'Qm' || repeat('Q', 44), CASE WHEN s.ended THEN 'Qm' || repeat('E', 44) END,
    CASE WHEN s.ended THEN w.address END, CASE WHEN s.ended THEN 'yes' END, CASE WHEN s.state = 'FINALIZED' THEN 'yes' END,
    71, 12, s.born, s.born + interval '1 hour', s.born + interval '1 hour',
    CASE WHEN s.state NOT IN ('PROPOSED', 'APPROVED') THEN s.born + interval '2 hours' END,
    CASE WHEN s.ended THEN s.born + interval '5 days' END, CASE WHEN s.state = 'DISPUTED' THEN s.born + interval '6 days' END,
    CASE WHEN s.state = 'FINALIZED' THEN s.born + interval '8 days' END, 1 + i.market, 300000000 + i.market, 5
FROM ids i JOIN LATERAL (
    SELECT x.state, x.state IN ('RESOLVING', 'DISPUTED', 'FINALIZED') AS ended,
        now() - interval '400 days' + i.market * interval '400 days' / :markets AS born
    FROM (SELECT CASE WHEN h.v < 55 THEN 'ACTIVE' WHEN h.v < 88 THEN 'FINALIZED' WHEN h.v < 92 THEN 'PROPOSED'
                      WHEN h.v < 94 THEN 'APPROVED' WHEN h.v < 96 THEN 'RESOLVING' WHEN h.v < 97 THEN 'DISPUTED'
                      ELSE 'CANCELLED' END AS state
          FROM (SELECT abs(hashint4(i.market)::bigint) % 100 AS v) h) x) s ON true
JOIN wallets w ON w.wallet = i.market % 3000
LEFT JOIN (
    SELECT market_id, count(*) AS trades, count(DISTINCT wallet) AS wallets, sum(cost_lamports) AS volume,
        sum(shares) FILTER (WHERE outcome = 'yes' AND side = 'buy') AS yes,
        sum(shares) FILTER (WHERE outcome = 'no' AND side = 'buy') AS no,
        (array_agg(price_yes_after_e9 ORDER BY slot DESC))[1] AS price
    FROM trades GROUP BY market_id) t USING (market_id);

INSERT INTO market_documents (market_id, creator, question, description, category, tags, ends_at, cid, document)
SELECT m.market_id, m.creator, 'Will ' || (ARRAY['Bitcoin', 'the Reds', 'a rover', 'the incumbent', 'Solana'])[1 + h.v % 5]
    || ' reach ' || h.v % 100000 || ' before ' || (ARRAY['spring', 'June', 'the final', 'New Year'])[1 + h.v % 4] || '?',
    'Resolves by the official announcement; reports of the press do not count. Number ' || h.v || '.',
    (ARRAY['crypto', 'politics', 'sports', 'science', 'technology', 'entertainment', 'finance', 'weather', 'other'])
        [1 + floor(9 * power((h.v % 1000) / 1000.0, 2))::int],
    ARRAY['tag' || h.v % 50, 'tag' || h.v % 997],
    m.created_at + interval '30 days' + (h.v % 300) * interval '1 day', 'Qm' || repeat('Q', 44), ''
FROM markets m, LATERAL (SELECT abs(hashtext(m.market_id)::bigint) AS v) h;

INSERT INTO positions (market_id, wallet, shares_yes, shares_no, total_invested, trades_count, cost_basis_yes,
    first_trade_at, last_trade_at, updated_slot)
SELECT market_id, wallet, coalesce(sum(shares) FILTER (WHERE outcome = 'yes'), 0),
    coalesce(sum(shares) FILTER (WHERE outcome = 'no'), 0),
    sum(cost_lamports), count(*), sum(cost_lamports), min(traded_at), max(traded_at), max(slot)
FROM trades GROUP BY market_id, wallet;

INSERT INTO discussions (market_id, wallet, content, created_at)
SELECT i.market_id, w.address, 'Number ' || p.n || ' is what I think.', now() - p.n * interval '10 s'
FROM picked p JOIN ids i USING (market) JOIN wallets w USING (wallet) WHERE p.n % 20 = 0;

INSERT INTO votes (market_id, kind, wallet, choice, proven, log_index, created_at)
SELECT i.market_id, 'proposal', w.address, CASE WHEN p.r < 0.8 THEN 'for' ELSE 'against' END, true, 0, now() - p.n * interval '10 s'
FROM picked p JOIN ids i USING (market) JOIN wallets w USING (wallet) WHERE p.n % 10 = 0 ON CONFLICT DO NOTHING;

DROP TABLE picked, wallets, ids;
