-- The first schema. Chain-derived rows (program_config, markets, positions, trades, onchain_votes) are a fold of
-- chain_events and can be emptied and computed again; everything else is written down because it happened here.
-- Ids are 64 lower-case hex characters, addresses base58, money integer lamports, shares integer 1e-9 units.
-- u64 values that can pass 2^63 are NUMERIC(20).

CREATE DOMAIN u64 AS numeric(20, 0) CHECK (VALUE >= 0 AND VALUE <= 18446744073709551615);
CREATE DOMAIN market_key AS text CHECK (VALUE ~ '^[0-9a-f]{64}$');
CREATE DOMAIN address AS text CHECK (length(VALUE) BETWEEN 32 AND 44);

---------------------------------------------------------------------------------------------- what the chain said

-- One row: how far the index is known to be complete.
CREATE TABLE index_progress (
    id                    smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    program_id            address NOT NULL,
    genesis_hash          text NOT NULL,
    start_slot            bigint NOT NULL DEFAULT 0,
    gap_free_through_slot bigint NOT NULL DEFAULT 0,   -- every transaction up to here is known, folded and final
    listed_through_slot   bigint NOT NULL DEFAULT 0,   -- final when the chain's listing was read that far
    tip_slot              bigint NOT NULL DEFAULT 0,
    final_slot            bigint NOT NULL DEFAULT 0,   -- the chain's newest finalized slot
    final_time            bigint,                      -- and the time of its Clock, unix seconds
    clock_slot            bigint,                      -- an older look at the finalized Clock, which the gap-free slot
    clock_time            bigint,                      -- has not passed yet: its slot and its time
    gap_free_through_time bigint NOT NULL DEFAULT 0,   -- everything with this chain time or an earlier one is indexed and final
    scanned_at            timestamptz
);

-- Every hint of a transaction, from whichever source, before anything is done with it. A row is deleted when its
-- transaction is in chain_transactions; 'done' are those that have nothing to do with the program, 'absent' hints that
-- nobody has a transaction for, 'dropped' those that an operator gave up.
CREATE TABLE inbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature       text NOT NULL UNIQUE,
    source          text NOT NULL CHECK (source IN ('webhook', 'logs', 'scan')),
    slot            bigint,
    payload         bytea,             -- the transaction as it was told; NULL: to be fetched by RPC
    delivered       boolean NOT NULL DEFAULT false,   -- a webhook told the payload, not our RPC
    said_foreign    boolean NOT NULL DEFAULT false,   -- a webhook told that it has nothing to do with the program
    listed          boolean NOT NULL DEFAULT false,   -- the chain's own listing names it, in this slot
    unknown_since   bigint,            -- slot at which a node first properly said that it has no such transaction
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'absent', 'dead', 'dropped')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error      text,
    received_at     timestamptz NOT NULL DEFAULT now(),
    settled_at      timestamptz
);
ALTER TABLE inbox ALTER COLUMN payload SET STORAGE EXTERNAL;   -- it stays for moments: not worth compressing
CREATE INDEX inbox_to_fold ON inbox (slot, id) WHERE state = 'pending' AND payload IS NOT NULL;
CREATE INDEX inbox_to_fetch ON inbox (slot, id) WHERE state = 'pending' AND payload IS NULL;
CREATE INDEX inbox_open ON inbox (slot) WHERE state IN ('pending', 'dead');
CREATE INDEX inbox_waiting ON inbox (received_at) WHERE state = 'pending' AND (listed OR payload IS NOT NULL);
CREATE INDEX inbox_dead ON inbox (id) WHERE state = 'dead';
CREATE INDEX inbox_done ON inbox (settled_at) WHERE state IN ('done', 'absent');

-- Transactions in chain_transactions, under the same key, that a webhook told and our own RPC has not shown yet: they are
-- not final, whatever the chain says of their signatures.
CREATE TABLE unconfirmed_transactions (
    slot            bigint NOT NULL,
    signature       text NOT NULL,
    digest          bytea NOT NULL,    -- of what was delivered and folded; the RPC must show the same
    received_at     timestamptz NOT NULL,
    listed          boolean NOT NULL DEFAULT false,   -- the chain's own listing names it
    held_slot       bigint,            -- and there it is in this other slot
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error      text
);
-- A slot holds few of ours: an index of the slots alone is a tenth of one of the whole key.
CREATE INDEX unconfirmed_transactions_slot ON unconfirmed_transactions (slot);
CREATE INDEX unconfirmed_transactions_held ON unconfirmed_transactions (held_slot) WHERE held_slot IS NOT NULL;

-- Deliveries that said something else than the chain, with the names of what differed.
CREATE TABLE false_deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature   text NOT NULL,
    differs     text[] NOT NULL,
    received_at timestamptz NOT NULL,
    found_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX false_deliveries_found ON false_deliveries (found_at);

-- Listings of a range of slots that an operator asked for; `reached` is where a broken one goes on.
CREATE TABLE backfills (
    from_slot  bigint NOT NULL,
    to_slot    bigint NOT NULL,
    reached    text,                   -- the oldest signature that was listed
    slot       bigint,                 -- and its slot
    found      bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    PRIMARY KEY (from_slot, to_slot)
);

-- Every transaction of the program that was looked at, the failed ones too. Signatures are long and random: a tree
-- of them grows by 160 MB a million and every look-up misses the caches; hashes take a quarter and are one page away.
CREATE TABLE chain_transactions (
    signature      text NOT NULL,
    slot           bigint NOT NULL,
    index_in_block integer,
    failed         boolean NOT NULL,
    finality       text NOT NULL DEFAULT 'confirmed' CHECK (finality IN ('confirmed', 'finalized')),
    event_count    integer NOT NULL,
    unknown_events integer NOT NULL DEFAULT 0,
    indexed_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chain_transactions_once EXCLUDE USING hash (signature WITH =)
);
ALTER TABLE chain_transactions REPLICA IDENTITY FULL;  -- for whoever publishes it: it has no primary key
CREATE INDEX chain_transactions_unfinal ON chain_transactions (slot) WHERE finality = 'confirmed';
CREATE INDEX chain_transactions_slot ON chain_transactions (slot);

-- Its identity is (signature, ordinal); the key begins with the slot, which a signature has one of, so that new rows
-- lie together. A foreign key would look up the transaction of every event; they are written and deleted together.
CREATE TABLE chain_events (
    signature      text NOT NULL,
    ordinal        integer NOT NULL,
    slot           bigint NOT NULL,
    index_in_block integer,
    name           text NOT NULL,
    market_id      market_key,
    event          jsonb NOT NULL,
    PRIMARY KEY (slot, signature, ordinal)
);
CREATE INDEX chain_events_of_market ON chain_events (market_id, slot, index_in_block, ordinal);
CREATE INDEX chain_events_of_config ON chain_events (slot, index_in_block, ordinal)
    WHERE name IN ('GlobalConfigInitialized', 'ConfigUpdated', 'ProtocolPauseStatusChanged');
CREATE INDEX chain_events_of_voter ON chain_events (market_id, (event ->> 'user'))
    WHERE name IN ('ProposalVoteSubmitted', 'DisputeVoteSubmitted');
CREATE INDEX chain_events_unmapped ON chain_events ((event ->> 'market'))
    WHERE market_id IS NULL AND name = 'WinningsClaimed';

-- What the program logged and this version cannot decode, kept for one that can.
CREATE TABLE unknown_events (
    slot      bigint NOT NULL,
    signature text NOT NULL,
    ordinal   integer NOT NULL,
    payload   bytea NOT NULL,
    PRIMARY KEY (slot, signature, ordinal)
);

--------------------------------------------------------------------------------------------------- the fold of it

-- How far each market's events are folded, and why not further.
CREATE TABLE market_folds (
    market_id            market_key PRIMARY KEY,
    signature            text,               -- the last event that was applied; NULL: none yet
    slot                 bigint,
    index_in_block       integer,
    ordinal              integer,
    error                text,               -- set: the event below and all after it wait
    error_slot           bigint,
    error_index_in_block integer,
    error_ordinal        integer
);
CREATE INDEX market_folds_signature ON market_folds (signature);
CREATE INDEX market_folds_stuck ON market_folds (error_slot) WHERE error IS NOT NULL;

CREATE TABLE program_config (
    id                          smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    admin                       address NOT NULL,
    backend_authority           address NOT NULL,
    protocol_fee_bps            integer NOT NULL,
    resolver_reward_bps         integer NOT NULL,
    liquidity_provider_fee_bps  integer NOT NULL,
    proposal_approval_threshold integer NOT NULL,
    dispute_success_threshold   integer NOT NULL,
    min_resolution_delay        bigint NOT NULL,
    dispute_period              bigint NOT NULL,
    is_paused                   boolean NOT NULL,
    updated_slot                bigint NOT NULL
);

CREATE TABLE markets (
    market_id                 market_key PRIMARY KEY,
    address                   address NOT NULL UNIQUE,
    creator                   address NOT NULL,
    state                     text NOT NULL CHECK (state IN
        ('PROPOSED', 'APPROVED', 'ACTIVE', 'RESOLVING', 'DISPUTED', 'FINALIZED', 'CANCELLED')),
    b_parameter               u64 NOT NULL,
    initial_liquidity         u64 NOT NULL,
    current_liquidity         u64 NOT NULL,
    shares_yes                u64 NOT NULL,
    shares_no                 u64 NOT NULL,
    price_yes_e9              bigint NOT NULL,
    total_volume              u64 NOT NULL,
    trades_count              integer NOT NULL DEFAULT 0,
    traders                   integer NOT NULL DEFAULT 0,
    accumulated_protocol_fees u64 NOT NULL DEFAULT 0,
    accumulated_resolver_fees u64 NOT NULL DEFAULT 0,
    accumulated_lp_fees       u64 NOT NULL DEFAULT 0,
    claimed_shares            u64 NOT NULL DEFAULT 0,
    question_cid              text,
    evidence_cid              text,
    resolver                  address,
    proposed_outcome          boolean,
    final_outcome             boolean,            -- NULL in FINALIZED: INVALID
    was_disputed              boolean NOT NULL DEFAULT false,
    dispute_initiator         address,
    proposal_likes            bigint NOT NULL DEFAULT 0,
    proposal_dislikes         bigint NOT NULL DEFAULT 0,
    dispute_agree             bigint NOT NULL DEFAULT 0,
    dispute_disagree          bigint NOT NULL DEFAULT 0,
    created_at                timestamptz NOT NULL,
    proposal_aggregated_at    timestamptz,
    approved_at               timestamptz,
    activated_at              timestamptz,
    resolution_proposed_at    timestamptz,
    dispute_initiated_at      timestamptz,
    resolved_at               timestamptz,        -- set by a failed aggregation of dispute votes alone
    finalized_at              timestamptz,
    cancelled_at              timestamptz,
    created_slot              bigint NOT NULL,
    updated_slot              bigint NOT NULL,
    events_count              integer NOT NULL
);
CREATE INDEX markets_newest ON markets (created_at DESC, market_id DESC);
CREATE INDEX markets_by_volume ON markets (total_volume DESC, market_id DESC);
CREATE INDEX markets_by_state ON markets (state, created_at DESC, market_id DESC);
CREATE INDEX markets_resolving ON markets (resolution_proposed_at) WHERE state = 'RESOLVING';
CREATE INDEX markets_disputed ON markets (dispute_initiated_at) WHERE state = 'DISPUTED';
CREATE INDEX markets_by_creator ON markets (creator, created_at DESC, market_id DESC);

CREATE TABLE positions (
    market_id             market_key NOT NULL,
    wallet                address NOT NULL,
    shares_yes            u64 NOT NULL,
    shares_no             u64 NOT NULL,
    total_invested        u64 NOT NULL,
    trades_count          integer NOT NULL,
    has_claimed           boolean NOT NULL DEFAULT false,
    claimed_lamports      u64 NOT NULL DEFAULT 0,
    cost_basis_yes        numeric(20, 0) NOT NULL DEFAULT 0,   -- average cost of what is still held, fees included
    cost_basis_no         numeric(20, 0) NOT NULL DEFAULT 0,
    realized_pnl_lamports numeric(20, 0) NOT NULL DEFAULT 0,
    first_trade_at        timestamptz NOT NULL,
    last_trade_at         timestamptz NOT NULL,
    updated_slot          bigint NOT NULL,
    PRIMARY KEY (market_id, wallet)
) WITH (fillfactor = 80);
CREATE INDEX positions_of_wallet ON positions (wallet);   -- no time in it: a trade must not move index entries

CREATE TABLE trades (
    signature             text NOT NULL,
    ordinal               integer NOT NULL,
    market_id             market_key NOT NULL,
    wallet                address NOT NULL,
    side                  text NOT NULL CHECK (side IN ('buy', 'sell')),
    outcome               boolean NOT NULL,
    shares                u64 NOT NULL,
    cost_lamports         bigint NOT NULL,    -- buy: paid, fees included; sell: received, fees taken off
    protocol_fee_lamports bigint NOT NULL,
    resolver_fee_lamports bigint NOT NULL,
    lp_fee_lamports       bigint NOT NULL,
    price_yes_after_e9    bigint NOT NULL,
    slot                  bigint NOT NULL,
    index_in_block        integer NOT NULL,
    traded_at             timestamptz NOT NULL,
    PRIMARY KEY (slot, signature, ordinal)
);
CREATE INDEX trades_of_market ON trades (market_id, slot DESC, index_in_block DESC, ordinal DESC);
CREATE INDEX trades_of_wallet ON trades (wallet, slot DESC, index_in_block DESC, ordinal DESC);
CREATE INDEX trades_newest ON trades (slot DESC, index_in_block DESC, ordinal DESC);
CREATE INDEX trades_in_time ON trades (market_id, traded_at);
CREATE INDEX trades_recent ON trades (traded_at);

-- Votes cast on chain (VoteRecord accounts); `vote` true: like, or agree that the proposed outcome is wrong.
CREATE TABLE onchain_votes (
    market_id market_key NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
    wallet    address NOT NULL,
    vote      boolean NOT NULL,
    signature text NOT NULL,
    slot      bigint NOT NULL,
    voted_at  timestamptz NOT NULL,
    PRIMARY KEY (market_id, kind, wallet)
);
CREATE INDEX onchain_votes_of_wallet ON onchain_votes (wallet, voted_at DESC);

---------------------------------------------------------------------------------------------- votes as statements

CREATE TABLE votes (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id  market_key NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
    wallet     address NOT NULL,
    vote       boolean NOT NULL,
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
    kind      text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
    rule      text NOT NULL,               -- as in the memo: open, funded;N, staked;N, listed;CID
    min_votes integer NOT NULL CHECK (min_votes >= 1),
    fixed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, kind)
);

-- Voters as judged by a rule other than open, with the fact that it asked about.
CREATE TABLE vote_judgements (
    market_id       market_key NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
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

-- Under a rule a vote counts once its wallet was judged eligible, not before: unknown is no yes.
CREATE FUNCTION wallet_counts(of_market text, of_kind text, of_wallet text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT FROM vote_rules r WHERE r.market_id = of_market AND r.kind = of_kind AND r.rule <> 'open')
        OR EXISTS (SELECT FROM vote_judgements j
                   WHERE j.market_id = of_market AND j.kind = of_kind AND j.wallet = of_wallet AND j.eligible)
$$;

-- One vote a wallet: the one on chain where it cast one, else its off-chain vote; and whether it counts. (A tally counts the
-- log, see below.)
CREATE VIEW cast_votes WITH (security_invoker = true) AS
SELECT o.market_id, o.kind, o.wallet, o.vote, 'onchain' AS channel, wallet_counts(o.market_id, o.kind, o.wallet) AS counts
FROM onchain_votes o
UNION ALL
SELECT v.market_id, v.kind, v.wallet, v.vote, CASE WHEN v.proven THEN 'statement' ELSE 'session' END,
       wallet_counts(v.market_id, v.kind, v.wallet)
FROM votes v
WHERE NOT EXISTS (SELECT FROM onchain_votes o
                  WHERE (o.market_id, o.kind, o.wallet) = (v.market_id, v.kind, v.wallet));

CREATE VIEW counted_votes WITH (security_invoker = true) AS
SELECT market_id, kind, wallet, vote, channel FROM cast_votes WHERE counts;

-- The count of counted_votes, kept by triggers: nobody has to count a million rows to say how a vote stands.
CREATE TABLE vote_counts (
    market_id     market_key NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
    votes_for     bigint NOT NULL DEFAULT 0,
    votes_against bigint NOT NULL DEFAULT 0,
    unproven      bigint NOT NULL DEFAULT 0,   -- of both, those that only a session carried
    not_counted   bigint NOT NULL DEFAULT 0,   -- besides: votes of wallets that are not, or not yet, judged eligible
    PRIMARY KEY (market_id, kind)
);

-- `gone` and `come` are rows of one of the two tables, as json: {market_id, kind, wallet, vote, proven}. The count's
-- row is locked before anything is looked up, so that the two channels of one wallet cannot miss each other.
CREATE FUNCTION recount_votes(of_table text, gone jsonb, come jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vote_counts (market_id, kind)
    SELECT DISTINCT r.market_id, r.kind FROM jsonb_to_recordset(gone || come) AS r (market_id text, kind text)
    ORDER BY 1, 2 ON CONFLICT DO NOTHING;
    PERFORM FROM vote_counts c
    WHERE (c.market_id, c.kind) IN
          (SELECT r.market_id, r.kind FROM jsonb_to_recordset(gone || come) AS r (market_id text, kind text))
    ORDER BY c.market_id, c.kind FOR UPDATE;
    UPDATE vote_counts c
    SET votes_for = c.votes_for + d.votes_for, votes_against = c.votes_against + d.votes_against,
        unproven = c.unproven + d.unproven, not_counted = c.not_counted + d.not_counted
    FROM (
        SELECT market_id, kind, coalesce(sum(n) FILTER (WHERE counts AND vote), 0) AS votes_for,
               coalesce(sum(n) FILTER (WHERE counts AND NOT vote), 0) AS votes_against,
               coalesce(sum(n) FILTER (WHERE counts AND unproven), 0) AS unproven,
               coalesce(sum(n) FILTER (WHERE NOT counts), 0) AS not_counted
        FROM (
            SELECT r.market_id, r.kind, r.vote, of_table = 'votes' AND NOT r.proven AS unproven,
                   wallet_counts(r.market_id, r.kind, r.wallet) AS counts, s.n
            FROM (VALUES (gone, -1), (come, 1)) AS s (rows, n), LATERAL jsonb_to_recordset(s.rows)
                 AS r (market_id text, kind text, wallet text, vote boolean, proven boolean)
            WHERE of_table = 'onchain_votes' OR NOT EXISTS
                  (SELECT FROM onchain_votes o WHERE (o.market_id, o.kind, o.wallet) = (r.market_id, r.kind, r.wallet))
            UNION ALL
            SELECT v.market_id, v.kind, v.vote, NOT v.proven, wallet_counts(v.market_id, v.kind, v.wallet), -s.n
            FROM (VALUES (gone, -1), (come, 1)) AS s (rows, n), LATERAL jsonb_to_recordset(s.rows)
                 AS r (market_id text, kind text, wallet text)
            JOIN votes v ON (v.market_id, v.kind, v.wallet) = (r.market_id, r.kind, r.wallet)
            WHERE of_table = 'onchain_votes') AS one
        GROUP BY market_id, kind) AS d
    WHERE (c.market_id, c.kind) = (d.market_id, d.kind);
END $$;

CREATE FUNCTION votes_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gone jsonb := '[]';
    come jsonb := '[]';
    bulky constant text[] := ARRAY['id', 'statement', 'signature', 'log_index', 'created_at', 'slot', 'voted_at'];
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT coalesce(jsonb_agg(to_jsonb(r) - bulky), '[]') INTO gone FROM old_rows r;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        SELECT coalesce(jsonb_agg(to_jsonb(r) - bulky), '[]') INTO come FROM new_rows r;
    END IF;
    IF gone <> come THEN
        PERFORM recount_votes(TG_TABLE_NAME, gone, come);
    END IF;
    RETURN NULL;
END $$;

-- These names come before feed_*: a vote's message tells the count with the vote in it.
DO $$
DECLARE
    counted text;
BEGIN
    FOREACH counted IN ARRAY ARRAY['votes', 'onchain_votes'] LOOP
        EXECUTE format('CREATE TRIGGER counts_created AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION votes_changed()', counted);
        EXECUTE format('CREATE TRIGGER counts_updated AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION votes_changed()', counted);
        EXECUTE format('CREATE TRIGGER counts_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION votes_changed()', counted);
    END LOOP;
END $$;

-- These two look up many wallets, in tables of which the planner may still believe that they are empty: always by index.
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
        SELECT count(*) FILTER (WHERE v.counts AND v.vote) AS votes_for,
               count(*) FILTER (WHERE v.counts AND NOT v.vote) AS votes_against,
               count(*) FILTER (WHERE v.counts AND v.channel = 'session') AS unproven,
               count(*) FILTER (WHERE NOT v.counts) AS not_counted
        FROM cast_votes v WHERE v.market_id = r.market_id AND v.kind = r.kind) AS d
    WHERE r.rule <> 'open' AND (c.market_id, c.kind) = (r.market_id, r.kind);
    RETURN NULL;
END $$;
CREATE TRIGGER counts_by_rule AFTER INSERT ON vote_rules REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rules_fixed();

-- `judged` as json, {market_id, kind, wallet, n}: wallets that became eligible (n 1) or ceased to be (n -1). The vote that such
-- a wallet cast changes sides between counted and not counted, which is a message about that vote.
CREATE FUNCTION recount_judged(judged jsonb) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    moved integer;
    first integer;
BEGIN
    PERFORM FROM vote_counts c
    WHERE (c.market_id, c.kind) IN
          (SELECT r.market_id, r.kind FROM jsonb_to_recordset(judged) AS r (market_id text, kind text))
    ORDER BY c.market_id, c.kind FOR UPDATE;
    UPDATE vote_counts c
    SET votes_for = c.votes_for + d.votes_for, votes_against = c.votes_against + d.votes_against,
        unproven = c.unproven + d.unproven, not_counted = c.not_counted - d.votes_for - d.votes_against
    FROM (
        SELECT r.market_id, r.kind, coalesce(sum(r.n) FILTER (WHERE v.vote), 0) AS votes_for,
               coalesce(sum(r.n) FILTER (WHERE NOT v.vote), 0) AS votes_against,
               coalesce(sum(r.n) FILTER (WHERE v.unproven), 0) AS unproven
        FROM jsonb_to_recordset(judged) AS r (market_id text, kind text, wallet text, n integer)
        CROSS JOIN LATERAL (
            SELECT o.vote, false AS unproven FROM onchain_votes o WHERE (o.market_id, o.kind, o.wallet) = (r.market_id, r.kind, r.wallet)
            UNION ALL
            SELECT v.vote, NOT v.proven FROM votes v WHERE (v.market_id, v.kind, v.wallet) = (r.market_id, r.kind, r.wallet)
            LIMIT 1) AS v
        WHERE EXISTS (SELECT FROM vote_rules t WHERE (t.market_id, t.kind) = (r.market_id, r.kind) AND t.rule <> 'open')
        GROUP BY r.market_id, r.kind) AS d
    WHERE (c.market_id, c.kind) = (d.market_id, d.kind);
    SELECT count(*) INTO moved FROM jsonb_to_recordset(judged) AS r (market_id text, kind text, wallet text)
    JOIN onchain_votes o ON (o.market_id, o.kind, o.wallet) = (r.market_id, r.kind, r.wallet);
    IF moved > 0 THEN
        first := feed_reserve(moved);
        INSERT INTO feed_changes (xid, n, topic, op, market_id, old_row, new_row)
        SELECT pg_current_xact_id(), first + row_number() OVER (), 'onchain_votes', 'updated', o.market_id, to_jsonb(o),
               to_jsonb(o) || jsonb_build_object('tally', t.tally)
        FROM jsonb_to_recordset(judged) AS r (market_id text, kind text, wallet text)
        JOIN onchain_votes o ON (o.market_id, o.kind, o.wallet) = (r.market_id, r.kind, r.wallet)
        JOIN (SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally
              FROM (SELECT DISTINCT r.market_id, r.kind FROM jsonb_to_recordset(judged) AS r (market_id text, kind text)) AS d) AS t
            ON (t.market_id, t.kind) = (o.market_id, o.kind);
    END IF;
END $$;

CREATE FUNCTION judgements_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    judged jsonb;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT jsonb_agg(jsonb_build_object('market_id', r.market_id, 'kind', r.kind, 'wallet', r.wallet, 'n', 1)) INTO judged
        FROM new_rows r WHERE r.eligible;
    ELSE
        SELECT jsonb_agg(jsonb_build_object('market_id', r.market_id, 'kind', r.kind, 'wallet', r.wallet,
                                            'n', CASE WHEN r.eligible THEN 1 ELSE -1 END)) INTO judged
        FROM new_rows r JOIN old_rows o USING (market_id, kind, wallet) WHERE r.eligible <> o.eligible;
    END IF;
    IF judged IS NOT NULL THEN
        PERFORM recount_judged(judged);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER counts_judged AFTER INSERT ON vote_judgements REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION judgements_changed();
CREATE TRIGGER counts_judged_again AFTER UPDATE ON vote_judgements REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION judgements_changed();

-- The append-only Merkle log of a market: entries without holes, and the hashes of all complete subtrees.
CREATE TABLE vote_logs (
    market_id market_key PRIMARY KEY,
    size      bigint NOT NULL DEFAULT 0
);
CREATE TABLE vote_log_entries (
    market_id  market_key NOT NULL,
    log_index  bigint NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
    wallet     address NOT NULL,
    vote       boolean NOT NULL,
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
    kind        text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
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
    kind          text NOT NULL CHECK (kind IN ('proposal', 'dispute')),
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
    first integer;
BEGIN
    SELECT count(*) INTO added FROM new_rows JOIN markets USING (market_id);
    IF added > 0 THEN
        first := feed_reserve(added);
        INSERT INTO feed_changes (xid, n, topic, op, market_id, old_row, new_row)
        SELECT pg_current_xact_id(), first + row_number() OVER (), 'markets', 'updated', m.market_id, to_jsonb(m), to_jsonb(m)
        FROM new_rows JOIN markets m USING (market_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER announced AFTER INSERT ON dispute_reviews REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_changed();
CREATE TRIGGER announced_again AFTER UPDATE ON dispute_reviews REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION reviews_changed();

------------------------------------------------------------------------------------------------ effects on chain

CREATE TABLE intents (
    id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id               market_key,
    action                  text NOT NULL,
    round                   integer NOT NULL DEFAULT 0,
    arguments               jsonb NOT NULL DEFAULT '{}',
    state                   text NOT NULL DEFAULT 'planned' CHECK (state IN
        ('planned', 'signed', 'sent', 'landed', 'already_done', 'dead', 'failed', 'uncertain')),
    attempts                integer NOT NULL DEFAULT 0,
    signature               text,
    raw_transaction         bytea,
    last_valid_block_height bigint,
    landed_slot             bigint,
    error_code              integer,
    error_name              text,
    error                   text,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (market_id, action, round)
);
CREATE INDEX intents_open ON intents (created_at) WHERE state IN ('planned', 'signed', 'sent', 'dead', 'uncertain');

-- Every signature that was ever made for an intent, so that none is forgotten.
CREATE TABLE intent_signatures (
    signature               text PRIMARY KEY,
    intent_id               uuid NOT NULL REFERENCES intents ON DELETE CASCADE,
    attempt                 integer NOT NULL,
    raw_transaction         bytea NOT NULL,
    last_valid_block_height bigint NOT NULL,
    signed_at               timestamptz NOT NULL DEFAULT now(),
    verdict                 text
);
CREATE INDEX intent_signatures_of ON intent_signatures (intent_id, attempt);

-- What a service is doing about a market, and why it does not get on.
CREATE TABLE market_work (
    market_id       market_key NOT NULL,
    job             text NOT NULL CHECK (job IN ('proposal', 'dispute', 'finalize')),
    status          text NOT NULL DEFAULT 'waiting',
    status_since    timestamptz NOT NULL DEFAULT now(),
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,                  -- why it failed, or what it waits for
    needs_slot      bigint,                -- status 'waiting: index': it goes on when the index is gap-free through this
    needs_time      bigint,                -- slot and this chain time
    last_attempt_at timestamptz,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market_id, job)
);
CREATE INDEX market_work_waits_for_index ON market_work (job) WHERE status = 'waiting: index';

------------------------------------------------------------------------------------------- people and their words

-- What a market is about. A draft is written before its market exists, under an id that anybody may use on chain: a text
-- belongs to a market only by its hash, markets.question_cid, and several may stand under one id.
CREATE TABLE market_documents (
    market_id   market_key NOT NULL,
    creator     address,             -- who wrote the draft; NULL: fetched by the CID of a market
    question    text NOT NULL DEFAULT '',
    description text NOT NULL DEFAULT '',
    category    text NOT NULL DEFAULT 'other',
    tags        text[] NOT NULL DEFAULT '{}',
    ends_at     timestamptz,
    cid         text NOT NULL,
    document    bytea,               -- NULL: what the CID names is no market document
    problem     text,                -- why it is none
    created_at  timestamptz NOT NULL DEFAULT now(),
    words       tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', question), 'A') ||
        setweight(to_tsvector('english', description), 'B') ||
        setweight(to_tsvector('english', category), 'C')) STORED,
    PRIMARY KEY (market_id, cid),
    CHECK ((document IS NULL) = (problem IS NOT NULL))
);
CREATE INDEX market_documents_cid ON market_documents (cid);
CREATE INDEX market_documents_words ON market_documents USING gin (words);
CREATE INDEX market_documents_category ON market_documents (category);
CREATE INDEX market_documents_creator ON market_documents (creator);
CREATE INDEX market_documents_ending ON market_documents (ends_at, market_id);
CREATE INDEX market_documents_tags ON market_documents USING gin (tags);

-- Texts of markets that are to be fetched from IPFS by the CID that stands on chain, until they are here.
CREATE TABLE document_fetches (
    market_id       market_key PRIMARY KEY,
    cid             text NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    requested_at    timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX document_fetches_due ON document_fetches (next_attempt_at);

CREATE FUNCTION request_document() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM market_documents d WHERE d.market_id = NEW.market_id AND d.cid = NEW.question_cid) THEN
        INSERT INTO document_fetches (market_id, cid) VALUES (NEW.market_id, NEW.question_cid)
        ON CONFLICT (market_id) DO UPDATE SET cid = excluded.cid, attempts = 0, last_error = NULL,
            requested_at = now(), next_attempt_at = now() WHERE document_fetches.cid <> excluded.cid;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER document_of_new AFTER INSERT ON markets FOR EACH ROW
    WHEN (NEW.question_cid IS NOT NULL) EXECUTE FUNCTION request_document();
CREATE TRIGGER document_of_changed AFTER UPDATE ON markets FOR EACH ROW
    WHEN (NEW.question_cid IS DISTINCT FROM OLD.question_cid AND NEW.question_cid IS NOT NULL)
    EXECUTE FUNCTION request_document();

CREATE TABLE users (
    wallet         address PRIMARY KEY,
    display_name   text,
    bio            text,
    avatar_url     text,
    twitter_handle text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE discussions (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id  market_key NOT NULL,
    wallet     address NOT NULL,
    content    text NOT NULL CHECK (length(content) BETWEEN 1 AND 1000),
    parent_id  uuid REFERENCES discussions,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX discussions_of_market ON discussions (market_id, created_at DESC, id DESC);
CREATE INDEX discussions_of_wallet ON discussions (wallet, created_at DESC);
CREATE INDEX discussions_newest ON discussions (created_at DESC) WHERE deleted_at IS NULL;

-- Everything that was pinned; the row stays when the pin is gone.
CREATE TABLE ipfs_anchors (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('snapshot', 'question', 'evidence')),
    market_id      market_key NOT NULL,
    snapshot_day   date,
    cid            text NOT NULL,
    previous_cid   text,
    content        bytea,                  -- our own bytes, kept until they have been read back
    size_bytes     bigint NOT NULL,
    comments_count integer NOT NULL DEFAULT 0,
    provider       text NOT NULL,
    provider_id    text,
    attempts       integer NOT NULL DEFAULT 0,
    last_error     text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    pinned_at      timestamptz,
    verified_at    timestamptz,
    unpin_after    timestamptz,
    unpinned_at    timestamptz,
    UNIQUE NULLS NOT DISTINCT (market_id, kind, snapshot_day, cid, provider)
);
CREATE INDEX ipfs_anchors_of_market ON ipfs_anchors (market_id, kind, snapshot_day DESC);
CREATE INDEX ipfs_anchors_due ON ipfs_anchors (unpin_after) WHERE unpinned_at IS NULL AND pinned_at IS NOT NULL;
CREATE INDEX ipfs_anchors_open ON ipfs_anchors (id) WHERE verified_at IS NULL;

------------------------------------------------------------------------------------------------------- operation

CREATE TABLE alerts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL,              -- what the alert is about; one open alert per key
    severity    text NOT NULL CHECK (severity IN ('warning', 'critical')),
    message     text NOT NULL,
    times       integer NOT NULL DEFAULT 1,
    raised_at   timestamptz NOT NULL DEFAULT now(),
    last_at     timestamptz NOT NULL DEFAULT now(),
    notified_at timestamptz,
    resolved_at timestamptz,
    claimed_until timestamptz               -- until then one process alone may tell of it
);
CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE resolved_at IS NULL;

CREATE TABLE service_status (
    service  text NOT NULL,
    instance text NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    ready    boolean NOT NULL,
    reason   text NOT NULL DEFAULT '',
    details  jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (service, instance)
);

------------------------------------------------------------------------------------------------- the change feed
-- A commit of any writer to a published table is a message. Statement triggers write its rows to feed_changes
-- under the transaction's id; a deferred trigger, the last thing before the commit, takes the next offsets from
-- feed_head. The row lock on feed_head is held until the commit is done, so offsets are dense, follow the order of
-- commits, and nobody can see offset n+1 before n.

CREATE TABLE feed_head (
    id        smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    epoch     uuid NOT NULL DEFAULT gen_random_uuid(),
    head      bigint NOT NULL DEFAULT 0,
    kept_from bigint NOT NULL DEFAULT 1,
    listed_at bigint NOT NULL DEFAULT 0    -- the last commit that added or removed a market or changed one's state
);
INSERT INTO feed_head DEFAULT VALUES;

CREATE TABLE feed_commits (
    xid          xid8 PRIMARY KEY,
    row_count    integer NOT NULL,
    lists        boolean NOT NULL DEFAULT false,   -- adds or removes a market or changes one's state
    base         bigint,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX feed_commits_base ON feed_commits (base);
CREATE INDEX feed_commits_age ON feed_commits (committed_at);

CREATE TABLE feed_changes (
    xid       xid8 NOT NULL,
    n         integer NOT NULL,
    topic     text NOT NULL,
    op        text NOT NULL,
    market_id text,
    old_row   jsonb,
    new_row   jsonb,
    PRIMARY KEY (xid, n)
);

CREATE VIEW change_feed WITH (security_invoker = true) AS
SELECT c.base + f.n AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f USING (xid) WHERE c.base IS NOT NULL;

CREATE FUNCTION feed_reserve(added integer) RETURNS integer LANGUAGE sql AS $$
    INSERT INTO feed_commits (xid, row_count) VALUES (pg_current_xact_id(), added)
    ON CONFLICT (xid) DO UPDATE SET row_count = feed_commits.row_count + excluded.row_count
    RETURNING row_count - added
$$;

-- Votes on chain that came after their vote had closed: nothing counts them.
CREATE VIEW late_votes WITH (security_invoker = true) AS
SELECT o.market_id, o.kind, o.wallet, o.vote, o.signature, o.slot, o.voted_at
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
        SELECT coalesce(sum(s.n) FILTER (WHERE s.vote), 0) AS votes_for,
               coalesce(sum(s.n) FILTER (WHERE NOT s.vote), 0) AS votes_against
        FROM late_votes l LEFT JOIN votes v USING (market_id, kind, wallet)
        CROSS JOIN LATERAL (VALUES (l.vote, -1), (v.vote, 1)) AS s (vote, n)
        WHERE l.market_id = of_market AND l.kind = of_kind AND wallet_counts(of_market, of_kind, l.wallet)
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

CREATE FUNCTION feed_publish() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    added integer;
    first integer;
    lists boolean := false;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT count(*) INTO added FROM new_rows;
        IF added > 0 THEN
            first := feed_reserve(added);
            -- A vote's message says how the count stands; it is taken here, so that every replay says the same.
            IF TG_TABLE_NAME IN ('votes', 'onchain_votes') THEN
                INSERT INTO feed_changes (xid, n, topic, op, market_id, new_row)
                SELECT pg_current_xact_id(), first + row_number() OVER (), TG_TABLE_NAME, 'created', r.market_id,
                       to_jsonb(r) || jsonb_build_object('tally', t.tally)
                FROM new_rows r JOIN (SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally
                                      FROM (SELECT DISTINCT market_id, kind FROM new_rows) d) t USING (market_id, kind);
            ELSE
                INSERT INTO feed_changes (xid, n, topic, op, market_id, new_row)
                SELECT pg_current_xact_id(), first + row_number() OVER (), TG_TABLE_NAME, 'created', r.market_id, to_jsonb(r)
                FROM new_rows r;
            END IF;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT count(*) INTO added FROM old_rows;
        IF added > 0 THEN
            first := feed_reserve(added);
            INSERT INTO feed_changes (xid, n, topic, op, market_id, old_row)
            SELECT pg_current_xact_id(), first + row_number() OVER (), TG_TABLE_NAME, 'deleted', r.market_id, to_jsonb(r)
            FROM old_rows r;
        END IF;
    ELSE
        -- An update that changes nothing is no message. The key columns come from the trigger's definition.
        EXECUTE format('SELECT count(*) FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
            INTO added;
        IF added > 0 THEN
            first := feed_reserve(added);
            EXECUTE format(
                'INSERT INTO feed_changes (xid, n, topic, op, market_id, old_row, new_row) '
                'SELECT pg_current_xact_id(), $1 + row_number() OVER (), $2, ''updated'', n.market_id, to_jsonb(o), to_jsonb(n) '
                'FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
                USING first, TG_TABLE_NAME;
        END IF;
    END IF;
    IF added > 0 AND TG_TABLE_NAME = 'markets' THEN
        IF TG_OP = 'UPDATE' THEN
            SELECT EXISTS (SELECT FROM old_rows o JOIN new_rows n USING (market_id) WHERE o.state <> n.state) INTO lists;
        ELSE
            lists := true;
        END IF;
        IF lists THEN
            UPDATE feed_commits c SET lists = true WHERE c.xid = pg_current_xact_id() AND NOT c.lists;
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION feed_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken integer;
    listed boolean;
    last bigint;
BEGIN
    SELECT row_count, lists INTO taken, listed FROM feed_commits WHERE xid = NEW.xid;
    UPDATE feed_head SET head = head + taken, listed_at = CASE WHEN listed THEN head + taken ELSE listed_at END
        RETURNING head INTO last;
    UPDATE feed_commits SET base = last - taken, committed_at = clock_timestamp() WHERE xid = NEW.xid;
    PERFORM pg_notify('zmart_feed', last::text);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER feed_commit AFTER INSERT ON feed_commits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION feed_commit();

DO $$
DECLARE
    published record;
BEGIN
    FOR published IN SELECT * FROM (VALUES
        ('markets', 'market_id'), ('trades', 'signature, ordinal'), ('onchain_votes', 'market_id, kind, wallet'),
        ('votes', 'id'), ('discussions', 'id')) AS t (name, key)
    LOOP
        EXECUTE format('CREATE TRIGGER feed_created AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish()', published.name);
        EXECUTE format('CREATE TRIGGER feed_updated AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish(%L)', published.name, published.key);
        EXECUTE format('CREATE TRIGGER feed_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish()', published.name);
    END LOOP;
END $$;

-- A text that becomes known after its market changes what readers see of the market: that is a message about it.
CREATE FUNCTION publish_document() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    document market_documents := coalesce(NEW, OLD);
    about jsonb;
BEGIN
    SELECT to_jsonb(m) INTO about FROM markets m
        WHERE m.market_id = document.market_id AND m.question_cid = document.cid;
    IF FOUND THEN
        INSERT INTO feed_changes (xid, n, topic, op, market_id, old_row, new_row)
        VALUES (pg_current_xact_id(), feed_reserve(1) + 1, 'markets', 'updated', document.market_id, about, about);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER feed_document AFTER INSERT OR UPDATE OR DELETE ON market_documents
    FOR EACH ROW EXECUTE FUNCTION publish_document();

------------------------------------------------------------------------------------------------ who may read what
-- The service connects as the owner, for whom these rules do not count. Roles of a hosted PostgreSQL that faces the
-- public see what the API shows to everybody, and nothing else.

DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema()
             AND tablename NOT LIKE 'alembic%' AND tablename NOT LIKE 'pgqueuer%' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['index_progress', 'chain_transactions', 'chain_events', 'program_config', 'markets', 'positions',
        'trades', 'onchain_votes', 'votes', 'vote_rules', 'vote_judgements', 'voter_lists',
        'voter_list_wallets', 'vote_counts', 'vote_logs', 'vote_log_entries', 'vote_log_nodes', 'vote_closings',
        'tallies', 'users'] LOOP
        EXECUTE format('CREATE POLICY public_read ON %I FOR SELECT USING (true)', t);
    END LOOP;
END $$;
CREATE POLICY public_read ON discussions FOR SELECT USING (deleted_at IS NULL);
CREATE POLICY public_read ON market_documents FOR SELECT USING
    (EXISTS (SELECT 1 FROM markets m WHERE m.market_id = market_documents.market_id AND m.question_cid = market_documents.cid));
-- The pin of a draft's text, and of evidence that was never proposed, is nobody else's business.
CREATE POLICY public_read ON ipfs_anchors FOR SELECT USING (pinned_at IS NOT NULL AND (kind = 'snapshot' OR EXISTS (
    SELECT 1 FROM markets m WHERE m.market_id = ipfs_anchors.market_id AND ipfs_anchors.cid IN (m.question_cid, m.evidence_cid))));

-- Supabase pushes these tables' changes by itself where its publication exists.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_publication WHERE pubname = 'supabase_realtime') THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE markets, trades, votes, onchain_votes, discussions;
    END IF;
END $$;
