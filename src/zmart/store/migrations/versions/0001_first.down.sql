DROP VIEW change_feed, counted_votes, late_votes;
DROP VIEW cast_votes;
DROP TABLE service_status, alerts, ipfs_anchors, discussions, users, document_fetches, market_documents, market_work, intent_signatures,
    intents, tallies, vote_closings, vote_log_nodes, vote_log_entries, vote_logs, vote_counts, votes, onchain_votes, trades, positions, markets,
    program_config, chain_events, chain_transactions, inbox, unconfirmed_transactions, false_deliveries, backfills, unknown_events, index_progress, market_folds, feed_changes, feed_commits, feed_head CASCADE;
DROP FUNCTION request_document, publish_document, feed_publish, feed_commit, feed_reserve, vote_tally, vote_standing, votes_changed, recount_votes;
DROP TABLE dispute_reviews, vote_rules, vote_judgements, voter_lists, voter_list_wallets;
DROP FUNCTION rules_fixed, recount_judged, judgements_changed, wallet_counts, reviews_changed;
DROP DOMAIN u64, market_key, address;
