ALTER TABLE chain_events DETACH PARTITION chain_events_first;
INSERT INTO chain_events_first (signature, ordinal, slot, index_in_block, name, market_id, event)
SELECT signature, ordinal, slot, index_in_block, name, market_id, event FROM chain_events ORDER BY slot, signature, ordinal;
DROP TABLE chain_events;
ALTER TABLE chain_events_first RENAME TO chain_events;
ALTER TABLE chain_events REPLICA IDENTITY DEFAULT;
ALTER TABLE chain_events ADD CONSTRAINT chain_events_pkey PRIMARY KEY USING INDEX chain_events_once_first;
ALTER INDEX chain_events_of_market_first RENAME TO chain_events_of_market;
ALTER INDEX chain_events_of_config_first RENAME TO chain_events_of_config;
ALTER INDEX chain_events_of_voter_first RENAME TO chain_events_of_voter;
ALTER INDEX chain_events_unmapped_first RENAME TO chain_events_unmapped;
