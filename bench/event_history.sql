-- One piece of a history: transactions, events, trades and positions of 200 markets, as the indexer would have left them.
-- $piece is its number, $rows how many events it has, $spacing the slots from one event to the next.
CREATE TEMP TABLE piece AS
SELECT n, substr(translate(md5('a' || n) || md5('b' || n) || md5('c' || n), '0', 'z'), 1, 88) AS signature,
    encode(sha256(('market ' || $piece || ' ' || floor(200 * random()))::bytea), 'hex') AS market_id,
    w.address AS wallet, random() AS r, 1 + n * $spacing AS slot
FROM (SELECT n, floor((SELECT count(*) FROM bench_wallets) * power(random(), 4)) AS wallet
      FROM generate_series($piece::bigint * $rows, ($piece + 1)::bigint * $rows - 1) n) AS p
JOIN bench_wallets w USING (wallet) ORDER BY n;

INSERT INTO chain_transactions (signature, slot, index_in_block, failed, finality, event_count)
SELECT signature, slot, 0, false, 'finalized', 1 FROM piece ORDER BY n;

INSERT INTO chain_events (signature, ordinal, slot, index_in_block, name, market_id, event)
SELECT signature, 0, slot, 0, 'SharesBought', market_id, jsonb_build_object('event', 'SharesBought', 'market_id', market_id,
    'user', wallet, 'outcome', r < 0.5, 'shares', (r * 2000000000)::bigint, 'cost', (r * 1100000000)::bigint,
    'new_price_yes', (r * 1000000000)::bigint, 'timestamp', 1700000000 + n)
FROM piece ORDER BY n;

INSERT INTO trades (signature, ordinal, market_id, wallet, side, outcome, shares, cost_lamports, protocol_fee_lamports,
    resolver_fee_lamports, lp_fee_lamports, price_yes_after_e9, slot, index_in_block, traded_at)
SELECT signature, 0, market_id, wallet, 'buy', 'yes', (r * 2000000000)::bigint, (r * 1100000000)::bigint, 33, 22, 55,
    (r * 1000000000)::bigint, slot, 0, to_timestamp(1700000000 + n) FROM piece ORDER BY n;

INSERT INTO positions (market_id, wallet, shares_yes, shares_no, total_invested, trades_count, first_trade_at, last_trade_at,
    updated_slot)
SELECT market_id, wallet, 1000, 0, 2000, count(*), to_timestamp(1700000000 + min(n)), to_timestamp(1700000000 + max(n)),
    max(slot) FROM piece GROUP BY market_id, wallet;

DROP TABLE piece;
