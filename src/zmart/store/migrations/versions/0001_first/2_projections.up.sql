-- The fold of the chain's events: markets, positions, trades, votes on chain, the program's rules.

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
    proposed_outcome          text CHECK (proposed_outcome IN ('yes', 'no')),
    final_outcome             text CHECK (final_outcome IN ('yes', 'no', 'invalid')),
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
    events_count              integer NOT NULL,
    CONSTRAINT markets_final_outcome_when_final CHECK ((state = 'FINALIZED') = (final_outcome IS NOT NULL))
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
    outcome               text NOT NULL CHECK (outcome IN ('yes', 'no')),
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

-- Votes cast on chain (VoteRecord accounts).
CREATE TABLE onchain_votes (
    market_id market_key NOT NULL,
    kind      vote_kind NOT NULL,
    wallet    address NOT NULL,
    choice    vote_choice NOT NULL,
    signature text NOT NULL,
    slot      bigint NOT NULL,
    voted_at  timestamptz NOT NULL,
    PRIMARY KEY (market_id, kind, wallet)
);
CREATE INDEX onchain_votes_of_wallet ON onchain_votes (wallet, voted_at DESC);
