-- What people wrote: texts of markets, profiles, comments, and what of it is pinned to IPFS.

-- What a market is about. A draft is written before its market exists, under an id that anybody may use on chain: a text
-- belongs to a market only by its hash, markets.question_cid, and several may stand under one id.
CREATE TABLE market_documents (
    market_id     market_key NOT NULL,
    creator       address,             -- who wrote the draft; NULL: fetched by the CID of a market
    question      text NOT NULL DEFAULT '',
    description   text NOT NULL DEFAULT '',
    category      text NOT NULL DEFAULT 'other',
    tags          text[] NOT NULL DEFAULT '{}',
    ends_at       timestamptz,
    cid           text NOT NULL,
    document      bytea,               -- NULL: what the CID names is not a market document
    problem       text,                -- and why it is not
    created_at    timestamptz NOT NULL DEFAULT now(),
    search_vector tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', question), 'A') ||
        setweight(to_tsvector('english', description), 'B') ||
        setweight(to_tsvector('english', category), 'C')) STORED,
    PRIMARY KEY (market_id, cid),
    CHECK ((document IS NULL) = (problem IS NOT NULL))
);
CREATE INDEX market_documents_cid ON market_documents (cid);
CREATE INDEX market_documents_search ON market_documents USING gin (search_vector);
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
