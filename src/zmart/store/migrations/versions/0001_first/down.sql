DROP VIEW change_feed, counted_votes, late_votes;
DROP VIEW cast_votes;
DROP TABLE index_progress, inbox, unconfirmed_transactions, false_deliveries, backfills, chain_transactions, chain_events,
    unknown_events, market_folds, program_config, markets, positions, trades, onchain_votes, votes, vote_rules, vote_judgements,
    voter_lists, voter_list_wallets, vote_counts, vote_logs, vote_log_entries, vote_log_nodes, vote_closings, tallies,
    dispute_reviews, intents, intent_signatures, market_work, market_documents, document_fetches, users, discussions,
    ipfs_anchors, feed_head, feed_commits, feed_changes, alerts, service_status, schema_migrations CASCADE;
DROP FUNCTION wallet_counts, count_votes, count_onchain_votes, rules_fixed, recount_judged, reviews_changed, vote_standing,
    vote_tally, request_document, publish_document, feed_reserve, feed_publish, feed_commit, refuse_truncate;
DROP DOMAIN u64, market_key, address, vote_kind, vote_choice;
