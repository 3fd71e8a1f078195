-- Who may read what.
--
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
