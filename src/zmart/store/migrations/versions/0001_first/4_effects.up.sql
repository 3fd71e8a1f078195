-- Effects on chain: what the backend intends to send, every signature of it, and the work behind it.

CREATE TABLE intents (
    id                      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    market_id               market_key,
    action                  text NOT NULL CHECK (action IN
        ('aggregate_proposal_votes', 'approve_proposal', 'finalize_market', 'cancel_market')),
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
    verdict                 text CHECK (verdict IN ('landed', 'already_done', 'dead', 'failed', 'uncertain'))
);
CREATE INDEX intent_signatures_of ON intent_signatures (intent_id, attempt);

-- What a service is doing about a market, and why it does not progress.
CREATE TABLE market_work (
    market_id       market_key NOT NULL,
    job             text NOT NULL CHECK (job IN ('proposal', 'dispute', 'finalize')),
    status          text NOT NULL DEFAULT 'waiting' CHECK (status IN
        ('waiting', 'waiting: index', 'waiting: review', 'too few votes', 'failing', 'awaiting admin', 'needs a person',
         'rejected')),
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
