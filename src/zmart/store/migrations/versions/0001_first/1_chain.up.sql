-- What the chain reported: the index's progress, its inbox, transactions and events.
--
-- For all of 0001: chain-derived rows (program_config, markets, positions, trades, onchain_votes) are a fold of
-- chain_events and can be emptied and computed again; everything else is written down because it happened here.
-- Ids are 64 lower-case hex characters, addresses base58, money integer lamports, shares integer 1e-9 units.
-- u64 values that can pass 2^63 are NUMERIC(20). Columns in *_at are timestamptz, but for opened_at and closed_at of
-- votes, which are chain time in unix seconds like every column in *_time.
--
-- There are no foreign keys between tables of different subjects, because their rows come in any order: a vote, a
-- document or an alert may name a market that the index learns of later, and a refold deletes and inserts markets.
-- This file never changes: a database keeps the fingerprint of the migrations that made it. Add a migration instead.

CREATE DOMAIN u64 AS numeric(20, 0) CHECK (VALUE >= 0 AND VALUE <= 18446744073709551615);
CREATE DOMAIN market_key AS text CHECK (VALUE ~ '^[0-9a-f]{64}$');
CREATE DOMAIN address AS text CHECK (length(VALUE) BETWEEN 32 AND 44);
CREATE DOMAIN vote_kind AS text CHECK (VALUE IN ('proposal', 'dispute'));
-- For or against the proposal; for or against the dispute: for says that the proposed outcome is wrong.
CREATE DOMAIN vote_choice AS text CHECK (VALUE IN ('for', 'against'));

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
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature          text NOT NULL UNIQUE,
    source             text NOT NULL CHECK (source IN ('webhook', 'logs', 'scan')),
    slot               bigint,
    payload            bytea,            -- the transaction as it was delivered; NULL: to be fetched by RPC
    delivered          boolean NOT NULL DEFAULT false,  -- the payload came from a webhook, not from our RPC
    reported_not_ours  boolean NOT NULL DEFAULT false,  -- by a webhook: nothing to do with the program
    listed             boolean NOT NULL DEFAULT false,  -- the chain's own listing names it, in this slot
    unknown_since_slot bigint,           -- slot at which a node first properly said that it has no such transaction
    state              text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'absent', 'dead', 'dropped')),
    attempts           integer NOT NULL DEFAULT 0,
    next_attempt_at    timestamptz NOT NULL DEFAULT now(),
    last_error         text,
    received_at        timestamptz NOT NULL DEFAULT now(),
    settled_at         timestamptz
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
    listed_slot     bigint,            -- and there it is in this other slot; NULL: in the same one
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error      text
);
-- A slot holds few of ours: an index of the slots alone is a tenth of one of the whole key.
CREATE INDEX unconfirmed_transactions_slot ON unconfirmed_transactions (slot);
CREATE INDEX unconfirmed_transactions_listed_slot ON unconfirmed_transactions (listed_slot) WHERE listed_slot IS NOT NULL;

-- Deliveries that said something else than the chain, with the names of what differed.
CREATE TABLE false_deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signature   text NOT NULL,
    differs     text[] NOT NULL,
    received_at timestamptz NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX false_deliveries_detected ON false_deliveries (detected_at);

-- Listings of a range of slots that an operator asked for; a broken one continues at oldest_signature.
CREATE TABLE backfills (
    from_slot        bigint NOT NULL,
    to_slot          bigint NOT NULL,
    oldest_signature text,                        -- the oldest one that was listed
    oldest_slot      bigint,                      -- and its slot
    new_count        bigint NOT NULL DEFAULT 0,   -- listed transactions that were not known before
    started_at       timestamptz NOT NULL DEFAULT now(),
    ended_at         timestamptz,
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
