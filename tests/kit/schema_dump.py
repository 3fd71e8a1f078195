"""Dumps of populated databases as earlier releases left them; each migration is tested on one.

    PYTHONPATH=tests python -m kit.schema_dump    # before a migration is added: writes vectors/schema_<newest>.sql.gz

The rows come from a story of two markets, delivered to a real indexer, and from votes, comments, work and alerts.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg

from kit.chain_story import Story
from kit.indexer import deliver, engine_on
from kit.story_node import serving
from kit.votes import add_market, add_onchain_vote, vote_by_session, vote_signed
from kit.wallets import address_of, market_id, wallet
from zmart.local.postgres import Postgres, find_bin_dir
from zmart.local.processes import free_port
from zmart.market.eligibility import Rule
from zmart.market.types import VoteKind
from zmart.store import market_work, migrate, vote_rules
from zmart.store.market_work import Job
from zmart.store.migrations import HEAD
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms

VECTORS = Path(__file__).parents[1] / "vectors"
_VOTED = 9
_HOME_SINCE = "0002"
_REST = f"""
INSERT INTO users (wallet, display_name, bio) VALUES
    ('{address_of(wallet(1))}', 'Ada', 'Writes "quotes" and umlauts: ä');
INSERT INTO market_documents (market_id, creator, question, category, tags, ends_at, cid, document)
VALUES ('{market_id(_VOTED)}', '{address_of(wallet(1))}', 'Will it rain?', 'weather', '{{rain,sky}}', '2026-01-01Z',
    'bafy', 'x');
INSERT INTO document_fetches (market_id, cid, attempts, last_error)
VALUES ('{market_id(8)}', 'bafyother', 3, 'not found');
INSERT INTO discussions (market_id, wallet, content, deleted_at)
SELECT '{market_id(_VOTED)}', '{address_of(wallet(2))}', 'Comment ' || n, CASE WHEN n % 5 = 0 THEN now() END
FROM generate_series(1, 25) AS n;
INSERT INTO discussions (market_id, wallet, content, parent_id)
SELECT market_id, wallet, 'A reply', id FROM discussions WHERE content = 'Comment 1';
INSERT INTO vote_judgements (market_id, kind, wallet, opened_at, eligible, held_lamports)
SELECT market_id, kind, wallet, 7, signature < 'T', 60000000 FROM onchain_votes WHERE market_id = '{market_id(_VOTED)}';
INSERT INTO voter_lists (cid, signer, wallets) VALUES ('bafylist', '{address_of(wallet(1))}', 1);
INSERT INTO voter_list_wallets VALUES ('bafylist', '{address_of(wallet(2))}');
INSERT INTO vote_closings (market_id, kind, closed_at, closed_slot, log_size, voting_over)
VALUES ('{market_id(_VOTED)}', 'proposal', 1750000000, 900, 5, true);
INSERT INTO tallies (market_id, kind, round, votes_for, votes_against, unproven, onchain, threshold_bps, passed,
    log_size, log_root, closed_at, closed_slot)
VALUES ('{market_id(_VOTED)}', 'proposal', 0, 3, 2, 1, 0, 7000, false,
    5, decode(repeat('ab', 32), 'hex'), 1750000000, 900);
INSERT INTO dispute_reviews (market_id, reasons) VALUES ('{market_id(_VOTED)}', '{{close}}');
INSERT INTO intents (market_id, action, state, attempts, signature, raw_transaction, last_valid_block_height)
VALUES ('{market_id(_VOTED)}', 'finalize_market', 'sent', 1, 's1', '\\x01', 99);
INSERT INTO intent_signatures (signature, intent_id, attempt, raw_transaction, last_valid_block_height, verdict)
SELECT 's1', id, 1, '\\x01', 99, 'uncertain' FROM intents;
INSERT INTO inbox (signature, source, slot, state, last_error)
VALUES ('dead', 'scan', 5, 'dead', 'it cannot be decoded');
INSERT INTO unconfirmed_transactions (slot, signature, digest, received_at) VALUES (7, 'told', '\\xab', now());
INSERT INTO false_deliveries (signature, differs, received_at) VALUES ('forged', '{{log lines}}', now());
INSERT INTO backfills (from_slot, to_slot, oldest_signature, oldest_slot, new_count) VALUES (1, 900, 'old', 3, 12);
INSERT INTO unknown_events VALUES (5, 'sig', 0, '\\xff');
INSERT INTO chain_events (signature, ordinal, slot, index_in_block, name, market_id, event)
SELECT 'outside', ordinal, 900000000000, index_in_block, name, market_id, event FROM chain_events
WHERE market_id IS NULL LIMIT 1;
INSERT INTO ipfs_anchors (kind, market_id, snapshot_day, cid, size_bytes, provider, pinned_at)
VALUES ('snapshot', '{market_id(_VOTED)}', '2026-01-01', 'bafysnapshot', 2048, 'local', now());
INSERT INTO alerts (key, severity, message) VALUES ('k', 'critical', 'It is late.');
INSERT INTO service_status (service, instance, ready, details) VALUES ('indexer', 'a', false, '{{"lag": 5}}');
INSERT INTO figure_history VALUES (60, now(), 'indexer', 'a', 60, '{{"events": 7}}', '{{"lag_slots": 5}}');
UPDATE discussions SET content = 'Changed' WHERE content = 'Comment 2';
DELETE FROM discussions WHERE content = 'Comment 3';
"""


async def populate(database_url: str) -> None:
    """Write rows into every table of a migrated database."""
    story = Story(11, markets=2, trades=8)
    async with serving(story) as node, engine_on(database_url, node.url) as engine:
        await deliver(engine, story.txs)
    pool = await Pool.open(database_url, size=2)
    try:
        voted = market_id(_VOTED)
        await add_market(pool, voted, "PROPOSED")
        await vote_rules.fix(pool, voted, VoteKind.PROPOSAL, VotingTerms(Rule.parse("open"), 2))
        for number in range(1, 8):
            await vote_signed(pool, voted, wallet(number), number % 3 > 0)
        await vote_by_session(pool, voted, wallet(8))
        for number in range(1, 5):
            await add_onchain_vote(pool, voted, VoteKind.DISPUTE, wallet(number), number > 1)
        await market_work.failed(pool, voted, Job.PROPOSAL, "the RPC is unavailable")
        await pool.execute(_REST)
    finally:
        await pool.close()


def dump(database_url: str) -> str:
    """Return the whole database as SQL that a driver can run, without commands of psql."""
    command = [
        str(find_bin_dir() / "pg_dump"),
        "--no-owner",
        "--no-privileges",
        "--rows-per-insert=50",
        database_url,
    ]
    sql = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # psql's own commands, and a setting that servers before 17 do not have.
    return re.sub(r"^(\\.*|SET transaction_timeout.*|--.*|)\n", "", sql, flags=re.M)


async def load(database_url: str, revision: str) -> None:
    """Load the dump of `revision` into an empty database.

    The database counts as its own home from 0002 on: a restored copy would begin another epoch of its feed.
    """
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            gzip.decompress((VECTORS / f"schema_{revision}.sql.gz").read_bytes()).decode()
        )
        if revision >= _HOME_SINCE:
            # a dump leaves the search path empty
            await connection.execute("RESET search_path; UPDATE feed_head SET home = feed_home()")
    finally:
        await connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", free_port(), durable=False)
        server.start()
        try:
            url = server.create_database("populated")
            migrate.upgrade(url, HEAD)
            asyncio.run(populate(url))
            path = VECTORS / f"schema_{HEAD}.sql.gz"
            path.write_bytes(gzip.compress(dump(url).encode(), 9, mtime=0))
            sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
