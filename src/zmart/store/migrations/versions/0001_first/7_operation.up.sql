-- Operation: alerts, the last report of each service, and which migrations made this database.

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

-- The fingerprint is that of the migration's SQL, so that a database which another text made is recognized.
CREATE TABLE schema_migrations (
    revision    text PRIMARY KEY,
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    applied_at  timestamptz NOT NULL DEFAULT now()
);
