-- Votes: those cast here, who may vote, how they count, the log that proves them, and what was counted for the chain.

CREATE TABLE votes (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id  market_key NOT NULL,
    kind       vote_kind NOT NULL,
    wallet     address NOT NULL,
    choice     vote_choice NOT NULL,
    proven     boolean NOT NULL,
    statement  text,
    signature  text,
    log_index  bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (market_id, kind, wallet)
);
CREATE INDEX votes_of_wallet ON votes (wallet, created_at DESC);
CREATE INDEX votes_newest ON votes (created_at DESC);

-- Who may vote, and with how few votes nothing is decided: fixed for each vote when it is first looked at, never changed.
CREATE TABLE vote_rules (
    market_id market_key NOT NULL,
    kind      vote_kind NOT NULL,
    rule      text NOT NULL                -- as in the memo
        CHECK (rule ~ '^(open|funded;[0-9]+|staked;[0-9]+|listed;[0-9A-Za-z]+)$'),
    min_votes integer NOT NULL CHECK (min_votes >= 1),
    fixed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, kind)
);

-- Voters as judged by a rule other than open, with the fact that it asked about.
CREATE TABLE vote_judgements (
    market_id       market_key NOT NULL,
    kind            vote_kind NOT NULL,
    wallet          address NOT NULL,
    opened_at       bigint NOT NULL,       -- when the vote opened, chain time in unix seconds: facts before that count
    eligible        boolean NOT NULL,
    held_lamports   bigint,
    traded_lamports bigint,
    judged_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, kind, wallet)
);

-- Signed lists of wallets that were fetched and checked, by their CID.
CREATE TABLE voter_lists (
    cid        text PRIMARY KEY,
    signer     address NOT NULL,
    wallets    integer NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE voter_list_wallets (
    cid    text NOT NULL,
    wallet address NOT NULL,
    PRIMARY KEY (cid, wallet)
);

-- Under a rule a vote counts once its wallet was judged eligible, not before: an unknown wallet does not count.
CREATE FUNCTION wallet_counts(of_market text, of_kind text, of_wallet text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM vote_rules r WHERE r.market_id = of_market AND r.kind = of_kind AND r.rule <> 'open')
        OR EXISTS (SELECT FROM vote_judgements j
                   WHERE j.market_id = of_market AND j.kind = of_kind AND j.wallet = of_wallet AND j.eligible)
$$;

-- One vote a wallet: the one on chain where it cast one, else its off-chain vote; and whether it counts. (A tally counts the
-- log, see below.)
CREATE VIEW cast_votes WITH (security_invoker = true) AS
SELECT o.market_id, o.kind, o.wallet, o.choice, 'onchain' AS channel, wallet_counts(o.market_id, o.kind, o.wallet) AS counts
FROM onchain_votes o
UNION ALL
SELECT v.market_id, v.kind, v.wallet, v.choice, CASE WHEN v.proven THEN 'statement' ELSE 'session' END,
       wallet_counts(v.market_id, v.kind, v.wallet)
FROM votes v
WHERE NOT EXISTS (SELECT FROM onchain_votes o
                  WHERE (o.market_id, o.kind, o.wallet) = (v.market_id, v.kind, v.wallet));

CREATE VIEW counted_votes WITH (security_invoker = true) AS
SELECT market_id, kind, wallet, choice, channel FROM cast_votes WHERE counts;

-- The count of counted_votes, kept by triggers: nobody has to count a million rows to say how a vote stands.
CREATE TABLE vote_counts (
    market_id     market_key NOT NULL,
    kind          vote_kind NOT NULL,
    votes_for     bigint NOT NULL DEFAULT 0,
    votes_against bigint NOT NULL DEFAULT 0,
    unproven      bigint NOT NULL DEFAULT 0,   -- of both, those that only a session carried
    not_counted   bigint NOT NULL DEFAULT 0,   -- besides: votes of wallets that are not, or not yet, judged eligible
    PRIMARY KEY (market_id, kind)
);

-- Adds the changed rows of votes or onchain_votes to the count, or takes them from it: the trigger's argument is 1 or -1. An
-- update takes its old rows away and adds its new ones. The count's row is locked before anything is looked up, so that the
-- two channels of one wallet cannot miss each other. A plan that was made for the first call serves all later ones, from one
-- row to a million: always by index.
CREATE FUNCTION count_votes() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    sign constant integer := TG_ARGV[0]::integer;
BEGIN
    INSERT INTO vote_counts (market_id, kind) SELECT DISTINCT r.market_id, r.kind FROM changed_rows r ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM vote_counts c WHERE (c.market_id, c.kind) IN (SELECT r.market_id, r.kind FROM changed_rows r)
    ORDER BY c.market_id, c.kind FOR UPDATE;
    UPDATE vote_counts c
    SET votes_for = c.votes_for + sign * d.votes_for, votes_against = c.votes_against + sign * d.votes_against,
        unproven = c.unproven + sign * d.unproven, not_counted = c.not_counted + sign * d.not_counted
    FROM (
        SELECT r.market_id, r.kind, count(*) FILTER (WHERE r.counts AND r.choice = 'for') AS votes_for,
               count(*) FILTER (WHERE r.counts AND r.choice = 'against') AS votes_against,
               count(*) FILTER (WHERE r.counts AND NOT r.proven) AS unproven, count(*) FILTER (WHERE NOT r.counts) AS not_counted
        FROM (SELECT v.market_id, v.kind, v.choice, v.proven, wallet_counts(v.market_id, v.kind, v.wallet) AS counts
              FROM changed_rows v
              WHERE NOT EXISTS (SELECT FROM onchain_votes o
                                WHERE (o.market_id, o.kind, o.wallet) = (v.market_id, v.kind, v.wallet))) AS r
        GROUP BY r.market_id, r.kind) AS d
    WHERE (c.market_id, c.kind) = (d.market_id, d.kind);
    RETURN NULL;
END $$;

-- The same for onchain_votes: a vote on chain counts, and the wallet's other vote does not as long as it is there.
CREATE FUNCTION count_onchain_votes() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    sign constant integer := TG_ARGV[0]::integer;
BEGIN
    INSERT INTO vote_counts (market_id, kind) SELECT DISTINCT r.market_id, r.kind FROM changed_rows r ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM vote_counts c WHERE (c.market_id, c.kind) IN (SELECT r.market_id, r.kind FROM changed_rows r)
    ORDER BY c.market_id, c.kind FOR UPDATE;
    UPDATE vote_counts c
    SET votes_for = c.votes_for + sign * d.votes_for, votes_against = c.votes_against + sign * d.votes_against,
        unproven = c.unproven + sign * d.unproven, not_counted = c.not_counted + sign * d.not_counted
    FROM (
        SELECT r.market_id, r.kind, coalesce(sum(r.weight) FILTER (WHERE r.counts AND r.choice = 'for'), 0) AS votes_for,
               coalesce(sum(r.weight) FILTER (WHERE r.counts AND r.choice = 'against'), 0) AS votes_against,
               coalesce(sum(r.weight) FILTER (WHERE r.counts AND NOT r.proven), 0) AS unproven,
               coalesce(sum(r.weight) FILTER (WHERE NOT r.counts), 0) AS not_counted
        FROM (SELECT o.market_id, o.kind, w.choice, w.proven, w.weight,
                     wallet_counts(o.market_id, o.kind, o.wallet) AS counts
              FROM changed_rows o
              LEFT JOIN votes v ON (v.market_id, v.kind, v.wallet) = (o.market_id, o.kind, o.wallet)
              CROSS JOIN LATERAL (VALUES (o.choice, true, 1), (v.choice, v.proven, -1)) AS w (choice, proven, weight)
              WHERE w.choice IS NOT NULL) AS r
        GROUP BY r.market_id, r.kind) AS d
    WHERE (c.market_id, c.kind) = (d.market_id, d.kind);
    RETURN NULL;
END $$;

-- These names come before feed_*: a vote's message has the count with the vote in it.
DO $$
DECLARE
    counted record;
    change record;
BEGIN
    FOR counted IN SELECT * FROM (VALUES ('votes', 'count_votes'), ('onchain_votes', 'count_onchain_votes')) AS t (name, function)
    LOOP
        FOR change IN SELECT * FROM (VALUES
            ('counts_created', 'INSERT', 'NEW', 1), ('counts_deleted', 'DELETE', 'OLD', -1),
            ('counts_updated_from', 'UPDATE', 'OLD', -1), ('counts_updated_to', 'UPDATE', 'NEW', 1)) AS t (name, event, rows, sign)
        LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON %I REFERENCING %s TABLE AS changed_rows '
                           'FOR EACH STATEMENT EXECUTE FUNCTION %I(%L)',
                           change.name, change.event, counted.name, change.rows, counted.function, change.sign);
        END LOOP;
    END LOOP;
END $$;

-- These two look up many wallets, in tables that the planner may still take for empty: always by index.
-- A rule other than open takes out of the count whoever voted on chain before it was fixed, until they are judged.
CREATE FUNCTION rules_fixed() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO vote_counts (market_id, kind) SELECT market_id, kind FROM new_rows WHERE rule <> 'open' ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM FROM vote_counts c WHERE (c.market_id, c.kind) IN (SELECT market_id, kind FROM new_rows WHERE rule <> 'open')
    ORDER BY c.market_id, c.kind FOR UPDATE;
    UPDATE vote_counts c
    SET votes_for = d.votes_for, votes_against = d.votes_against, unproven = d.unproven, not_counted = d.not_counted
    FROM new_rows r CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE v.counts AND v.choice = 'for') AS votes_for,
               count(*) FILTER (WHERE v.counts AND v.choice = 'against') AS votes_against,
               count(*) FILTER (WHERE v.counts AND v.channel = 'session') AS unproven,
               count(*) FILTER (WHERE NOT v.counts) AS not_counted
        FROM cast_votes v WHERE v.market_id = r.market_id AND v.kind = r.kind) AS d
    WHERE r.rule <> 'open' AND (c.market_id, c.kind) = (r.market_id, r.kind);
    RETURN NULL;
END $$;
CREATE TRIGGER counts_by_rule AFTER INSERT ON vote_rules REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rules_fixed();

-- Wallets that became eligible (sign 1) or ceased to be (sign -1): the vote that such a wallet cast changes sides between
-- counted and not counted, which is a message about that vote.
CREATE FUNCTION recount_judged() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    judged constant text := CASE TG_OP
        WHEN 'INSERT' THEN 'SELECT market_id, kind, wallet, 1 AS sign FROM new_rows WHERE eligible'
        ELSE 'SELECT n.market_id, n.kind, n.wallet, CASE WHEN n.eligible THEN 1 ELSE -1 END AS sign '
             'FROM new_rows n JOIN old_rows o USING (market_id, kind, wallet) WHERE n.eligible <> o.eligible' END;
    added integer;
BEGIN
    EXECUTE format('SELECT FROM vote_counts c WHERE (c.market_id, c.kind) IN (SELECT r.market_id, r.kind FROM (%s) AS r) '
                   'ORDER BY c.market_id, c.kind FOR UPDATE', judged);
    EXECUTE format($update$
        UPDATE vote_counts c
        SET votes_for = c.votes_for + d.votes_for, votes_against = c.votes_against + d.votes_against,
            unproven = c.unproven + d.unproven, not_counted = c.not_counted - d.votes_for - d.votes_against
        FROM (
            SELECT r.market_id, r.kind, coalesce(sum(r.sign) FILTER (WHERE v.choice = 'for'), 0) AS votes_for,
                   coalesce(sum(r.sign) FILTER (WHERE v.choice = 'against'), 0) AS votes_against,
                   coalesce(sum(r.sign) FILTER (WHERE v.unproven), 0) AS unproven
            FROM (%s) AS r
            CROSS JOIN LATERAL (
                SELECT o.choice, false AS unproven FROM onchain_votes o
                WHERE (o.market_id, o.kind, o.wallet) = (r.market_id, r.kind, r.wallet)
                UNION ALL
                SELECT v.choice, NOT v.proven FROM votes v WHERE (v.market_id, v.kind, v.wallet) = (r.market_id, r.kind, r.wallet)
                LIMIT 1) AS v
            WHERE EXISTS (SELECT FROM vote_rules t WHERE (t.market_id, t.kind) = (r.market_id, r.kind) AND t.rule <> 'open')
            GROUP BY r.market_id, r.kind) AS d
        WHERE (c.market_id, c.kind) = (d.market_id, d.kind)
    $update$, judged);
    EXECUTE format('SELECT count(*) FROM (%s) AS r JOIN onchain_votes o USING (market_id, kind, wallet)', judged) INTO added;
    IF added > 0 THEN
        EXECUTE format($insert$
            WITH judged AS MATERIALIZED (%s), tallies_now AS MATERIALIZED (
                SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally
                FROM (SELECT DISTINCT market_id, kind FROM judged) AS d)
            INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row)
            SELECT f.commit_id, f.last_ordinal + row_number() OVER (), 'onchain_votes', 'updated', o.market_id, to_jsonb(o),
                   to_jsonb(o) || jsonb_build_object('tally', t.tally)
            FROM feed_reserve($1) AS f, judged r
            JOIN onchain_votes o USING (market_id, kind, wallet) JOIN tallies_now t USING (market_id, kind)
        $insert$, judged) USING added;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counts_judged AFTER INSERT ON vote_judgements REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION recount_judged();
CREATE TRIGGER counts_judged_again AFTER UPDATE ON vote_judgements REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION recount_judged();

-- The append-only Merkle log of a market: entries without holes, and the hashes of all complete subtrees.
CREATE TABLE vote_logs (
    market_id market_key PRIMARY KEY,
    size      bigint NOT NULL DEFAULT 0
);
CREATE TABLE vote_log_entries (
    market_id  market_key NOT NULL,
    log_index  bigint NOT NULL,
    kind       vote_kind NOT NULL,
    wallet     address NOT NULL,
    choice     vote_choice NOT NULL,
    channel    text NOT NULL CHECK (channel IN ('statement', 'session', 'onchain')),
    entry      bytea NOT NULL,             -- the canonical bytes that the leaf hash covers
    leaf_hash  bytea NOT NULL CHECK (length(leaf_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, log_index),
    UNIQUE (market_id, kind, wallet, channel)
);
CREATE INDEX vote_log_onchain ON vote_log_entries (market_id, kind, wallet) INCLUDE (log_index) WHERE channel = 'onchain';
CREATE TABLE vote_log_nodes (
    market_id  market_key NOT NULL,
    level      smallint NOT NULL,          -- 0: leaves; a node covers 2^level of them
    node_index bigint NOT NULL,
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (market_id, level, node_index)
);

-- Up to where a vote counts: written when a decision takes the vote up, before the index is asked whether it is complete
-- that far. `voting_over`: the log takes no further vote of this kind; votes on chain with a later chain time, and entries of
-- the log from `log_size` on, are late.
CREATE TABLE vote_closings (
    market_id   market_key NOT NULL,
    kind        vote_kind NOT NULL,
    closed_at   bigint NOT NULL,           -- chain time, unix seconds
    closed_slot bigint NOT NULL,           -- the chain's slot when this was written
    log_size    bigint NOT NULL,
    voting_over boolean NOT NULL,
    written_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, kind)
);

-- Every count that was taken for the chain, with the log that proves it.
CREATE TABLE tallies (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market_id     market_key NOT NULL,
    kind          vote_kind NOT NULL,
    round         integer NOT NULL,
    votes_for     bigint NOT NULL,
    votes_against bigint NOT NULL,
    unproven      bigint NOT NULL,
    onchain       bigint NOT NULL,
    threshold_bps integer NOT NULL,
    passed        boolean NOT NULL,
    log_size      bigint NOT NULL,
    log_root      bytea NOT NULL CHECK (length(log_root) = 32),
    closed_at     bigint NOT NULL,         -- every vote on chain up to this chain time is counted, no later one
    closed_slot   bigint NOT NULL,         -- the index was gap-free and final through this slot
    rule          text NOT NULL DEFAULT 'open',
    min_votes     integer NOT NULL DEFAULT 1,
    not_counted   bigint NOT NULL DEFAULT 0,   -- voters in the log whose wallets are not eligible
    taken_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (market_id, kind, round)
);

-- Results of disputes that a person was asked to look at before they settle (DISPUTE_REVIEW), and who released them.
CREATE TABLE dispute_reviews (
    market_id   market_key PRIMARY KEY,
    reasons     text[] NOT NULL,
    raised_at   timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    released_by text,
    note        text
);

-- What a market's page says about its review is part of the market: a change of it is a message about the market.
CREATE FUNCTION reviews_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    added integer;
BEGIN
    SELECT count(*) INTO added FROM new_rows JOIN markets USING (market_id);
    IF added > 0 THEN
        INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row)
        SELECT f.commit_id, f.last_ordinal + row_number() OVER (), 'markets', 'updated', m.market_id, to_jsonb(m), to_jsonb(m)
        FROM feed_reserve(added) AS f, new_rows JOIN markets m USING (market_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER announced AFTER INSERT ON dispute_reviews REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_changed();
CREATE TRIGGER announced_again AFTER UPDATE ON dispute_reviews REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_changed();

-- Votes on chain that came after their vote had closed: nothing counts them.
CREATE VIEW late_votes WITH (security_invoker = true) AS
SELECT o.market_id, o.kind, o.wallet, o.choice, o.signature, o.slot, o.voted_at
FROM vote_closings c JOIN onchain_votes o USING (market_id, kind)
WHERE c.voting_over AND o.voted_at > to_timestamp(c.closed_at);

-- How the votes of one kind stand: what the account on chain recorded once that was decided; else the count that was taken
-- when voting was over; else what counts now. A wallet's vote on chain counts instead of its other one, a late one never.
CREATE FUNCTION vote_standing(of_market text, of_kind text) RETURNS TABLE (votes_for bigint, votes_against bigint)
LANGUAGE sql STABLE AS $$
    WITH decided AS (
        SELECT m.proposal_likes AS votes_for, m.proposal_dislikes AS votes_against FROM markets m
        WHERE of_kind = 'proposal' AND m.market_id = of_market AND m.state <> 'PROPOSED'
            AND m.proposal_aggregated_at IS NOT NULL
        UNION ALL
        SELECT m.dispute_agree, m.dispute_disagree FROM markets m
        WHERE of_kind = 'dispute' AND m.market_id = of_market AND m.state = 'FINALIZED' AND m.was_disputed
        UNION ALL
        SELECT t.votes_for, t.votes_against FROM (
            SELECT t.votes_for, t.votes_against FROM vote_closings c JOIN tallies t USING (market_id, kind, closed_at)
            WHERE c.market_id = of_market AND c.kind = of_kind AND c.voting_over ORDER BY t.round DESC LIMIT 1) AS t
    ), late AS (
        SELECT coalesce(sum(s.weight) FILTER (WHERE s.choice = 'for'), 0) AS votes_for,
               coalesce(sum(s.weight) FILTER (WHERE s.choice = 'against'), 0) AS votes_against
        FROM late_votes l LEFT JOIN votes v USING (market_id, kind, wallet)
        CROSS JOIN LATERAL (VALUES (l.choice, -1), (v.choice, 1)) AS s (choice, weight)
        WHERE l.market_id = of_market AND l.kind = of_kind AND wallet_counts(of_market, of_kind, l.wallet)
          AND EXISTS (SELECT FROM vote_closings c WHERE c.market_id = of_market AND c.kind = of_kind AND c.voting_over)
    ), counted AS (
        SELECT c.votes_for + l.votes_for, c.votes_against + l.votes_against
        FROM late l, (SELECT coalesce(sum(votes_for), 0) AS votes_for, coalesce(sum(votes_against), 0) AS votes_against
                      FROM vote_counts WHERE market_id = of_market AND kind = of_kind) AS c
    )
    SELECT s.votes_for::bigint, s.votes_against::bigint
    FROM (SELECT * FROM decided UNION ALL SELECT * FROM counted WHERE NOT EXISTS (SELECT FROM decided)) AS s LIMIT 1
$$;

CREATE FUNCTION vote_tally(of_market text, of_kind text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('for', votes_for, 'against', votes_against, 'total', votes_for + votes_against)
    FROM vote_standing(of_market, of_kind)
$$;
