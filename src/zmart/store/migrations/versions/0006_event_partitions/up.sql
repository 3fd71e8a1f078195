-- chain_events in partitions of 10,000,000 slots, some 46 days, which the indexer makes ahead of the chain (store/partitions.py).
-- The key begins with the slot, so each partition holds its part of the same key, and nothing may be there twice that might
-- not before: that a signature has one slot is what chain_transactions_once says, and chain_transactions stays one table.
-- The key is a unique index and no primary key, which pg_restore --clean cannot drop of a partition.
--
-- No row moves: the table as it is becomes the first partition, up to the end of the 10,000,000 slots in which the index is
-- now. It is read twice, for the unique index and to check its slots. What lies above (only a forged delivery can) goes to
-- the default partition.

ALTER TABLE chain_events RENAME TO chain_events_first;
ALTER TABLE chain_events_first DROP CONSTRAINT chain_events_pkey;
CREATE UNIQUE INDEX chain_events_once_first ON chain_events_first (slot, signature, ordinal);
ALTER TABLE chain_events_first REPLICA IDENTITY FULL;  -- for whoever publishes it: it has no primary key
ALTER INDEX chain_events_of_market RENAME TO chain_events_of_market_first;
ALTER INDEX chain_events_of_config RENAME TO chain_events_of_config_first;
ALTER INDEX chain_events_of_voter RENAME TO chain_events_of_voter_first;
ALTER INDEX chain_events_unmapped RENAME TO chain_events_unmapped_first;

CREATE TABLE chain_events (
    signature      text NOT NULL,
    ordinal        integer NOT NULL,
    slot           bigint NOT NULL,
    index_in_block integer,
    name           text NOT NULL,
    market_id      market_key,
    event          jsonb NOT NULL
) PARTITION BY RANGE (slot);
CREATE UNIQUE INDEX chain_events_once ON chain_events (slot, signature, ordinal);
CREATE INDEX chain_events_of_market ON chain_events (market_id, slot, index_in_block, ordinal);
CREATE INDEX chain_events_of_config ON chain_events (slot, index_in_block, ordinal)
    WHERE name IN ('GlobalConfigInitialized', 'ConfigUpdated', 'ProtocolPauseStatusChanged');
CREATE INDEX chain_events_of_voter ON chain_events (market_id, (event ->> 'user'))
    WHERE name IN ('ProposalVoteSubmitted', 'DisputeVoteSubmitted');
CREATE INDEX chain_events_unmapped ON chain_events ((event ->> 'market'))
    WHERE market_id IS NULL AND name = 'WinningsClaimed';

CREATE TABLE chain_events_default PARTITION OF chain_events DEFAULT;
ALTER TABLE chain_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE chain_events_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE chain_events_default REPLICA IDENTITY FULL;
CREATE POLICY public_read ON chain_events FOR SELECT USING (true);

DO $$
DECLARE
    width constant bigint := 10000000;
    first_end bigint;
    granted record;
BEGIN
    SELECT (greatest(max(tip_slot), max(final_slot), 0) / width + 1) * width INTO first_end FROM index_progress;
    WITH above AS (DELETE FROM chain_events_first WHERE slot >= first_end RETURNING *)
    INSERT INTO chain_events_default SELECT * FROM above;
    EXECUTE format('ALTER TABLE chain_events ATTACH PARTITION chain_events_first FOR VALUES FROM (MINVALUE) TO (%s)', first_end);
    -- Who could read the table can read what stands in its place.
    FOR granted IN SELECT a.privilege_type, a.grantee::regrole AS role, a.grantee = 0 AS is_public
                   FROM pg_class c, aclexplode(c.relacl) a
                   WHERE c.oid = 'chain_events_first'::regclass AND a.grantee <> c.relowner LOOP
        EXECUTE format('GRANT %s ON chain_events TO %s', granted.privilege_type,
                       CASE WHEN granted.is_public THEN 'PUBLIC' ELSE granted.role::text END);
    END LOOP;
END $$;
