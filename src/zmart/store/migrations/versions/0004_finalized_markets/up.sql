-- The activity list shows the newest resolutions: without an index each request would read all finalized markets.
CREATE INDEX markets_finalized ON markets (finalized_at DESC, market_id DESC) WHERE state = 'FINALIZED';
