"""Tests of snapshots, from the rows to the gateway: stored first, verified by reading them back, unpinned in time."""

import asyncio
import importlib
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

import zmart
from kit import commands, http_servers, rows
from kit.services import running_service
from kit.waiting import until
from zmart.errors import Busy, Conflict, NotFound, ReadOnly, Unavailable
from zmart.ipfs.cid import cid_of
from zmart.ipfs.gateway import fetch_from_gateway
from zmart.ipfs.pinata import PinataClient
from zmart.ipfs.pinning import PinError
from zmart.market.eligibility import Rule
from zmart.market.types import VoteKind
from zmart.proofs import market_document, merkle
from zmart.proofs.canonical import canonical_json
from zmart.proofs.findings import Verdict
from zmart.proofs.log_sources import as_file
from zmart.proofs.market_document import MarketDocument
from zmart.proofs.snapshot import parse
from zmart.proofs.verify_snapshot import verify_history
from zmart.services.snapshots import metrics
from zmart.services.snapshots.api import RunApi
from zmart.services.snapshots.building import SnapshotBuilder
from zmart.services.snapshots.keeping import PinKeeper
from zmart.services.snapshots.runs import SnapshotRuns, today
from zmart.services.snapshots.service import SnapshotService
from zmart.settings import Settings, load_settings
from zmart.store import anchors as stored_anchors
from zmart.store import documents, snapshot_source, vote_rules
from zmart.store.pool import Pool
from zmart.store.vote_rules import VotingTerms

MARKET = "ab" * 32
ADDRESS = "MarketAddress" + "1" * 30
WALLET = "1" * 32
COMMENT = f"INSERT INTO discussions (market_id, wallet, content) VALUES ('{MARKET}', '{WALLET}', $1)"
TOKEN = "operator-token"


@pytest.fixture(scope="module")
def providers(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Run the local pin store as a process, and yield the settings that name it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    names = {"pinata_api_url": address, "ipfs_gateway_url": address, "pinata_jwt": "a-test-jwt"}
    env = commands.environment(zmart_home=tmp_path_factory.mktemp("home"), local_providers_port=port, **names)
    process = subprocess.Popen([*commands.ZMART, "run", "providers"], env=env)
    try:
        asyncio.run(_answers(address))
        yield names
    finally:
        process.terminate()
        process.wait(10)


async def _answers(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        await until(lambda: http_servers.is_ready(http, "/health"))


@pytest.fixture
async def pool(pool: Pool) -> Pool:
    await rows.add_markets(pool, [rows.market_fold(MARKET, address=ADDRESS, creator=WALLET)])
    return pool


@pytest.fixture
def settings(database_url: str, providers: dict[str, str]) -> Settings:
    return load_settings(
        _env_file=None, zmart_env="local", database_url=database_url, operator_token=TOKEN, **providers
    )


@pytest.fixture
async def runs(pool: Pool, settings: Settings) -> AsyncIterator[SnapshotRuns]:
    async with PinataClient.from_settings(settings) as pins:
        yield SnapshotRuns.with_provider(pool, pins, settings)


async def anchors(pool: Pool) -> list[dict]:
    return [dict(row) for row in await pool.fetch("SELECT * FROM ipfs_anchors ORDER BY id")]


async def test_a_snapshot_is_pinned_read_back_and_says_what_the_rows_say(pool, runs, settings):
    await pool.execute(COMMENT, "first")
    await pool.execute(COMMENT, "regretted")
    await pool.execute("UPDATE discussions SET deleted_at = now() WHERE content = 'regretted'")
    [made] = await runs.run_all()
    assert (made.is_new, made.verified, made.error) == (True, True, None)
    snapshot = parse(await fetch_from_gateway(settings.ipfs_gateway_url, made.cid))
    assert (snapshot.market_id, snapshot.previous, len(snapshot.comments)) == (MARKET, None, 2)
    assert [comment.get("content") for comment in snapshot.comments] == ["first", None]
    assert snapshot.market["state"] == "ACTIVE"
    [row] = await anchors(pool)
    assert (row["kind"], row["snapshot_day"], row["comments_count"]) == ("snapshot", today(), 2)
    assert row["content"] is None
    assert row["pinned_at"] is not None
    assert row["verified_at"] >= row["pinned_at"]
    assert (row["unpin_after"] - row["pinned_at"]).days == 30


async def test_running_a_day_again_changes_nothing_and_a_change_follows_its_predecessor(pool, runs):
    await pool.execute(COMMENT, "one")
    [first] = await runs.run_all()
    [second_result] = await runs.run_all()
    assert (second_result.cid, second_result.is_new, second_result.verified) == (first.cid, False, True)
    await pool.execute(COMMENT, "two")
    [second] = await runs.run_all()
    assert second.is_new
    assert [row["previous_cid"] for row in await anchors(pool)] == [None, first.cid]
    [unchanged] = await runs.run_all()
    assert (unchanged.cid, unchanged.is_new) == (second.cid, False)


async def test_many_builders_at_once_make_one_chain(pool, runs):
    for number in range(4):
        await pool.execute(COMMENT, str(number))
        await asyncio.gather(*(runs.run_one(MARKET) for _ in range(4)))
    rows = await anchors(pool)
    assert [row["previous_cid"] for row in rows] == [None, *(row["cid"] for row in rows[:-1])]
    assert len(rows) == 4


async def test_two_machines_with_the_same_rows_make_the_same_cid(
    pool, runs, settings, new_database, migrated_template
):
    for text_parts in ("same", "words"):
        await pool.execute(COMMENT, text_parts)
    other = await Pool.open(new_database(migrated_template))
    try:
        await other.execute("SET TIME ZONE 'Asia/Kolkata'")
        for table in ("markets", "discussions"):
            rows = await pool.fetchval(f"SELECT jsonb_agg(to_jsonb(t) ORDER BY random()) FROM {table} t")
            await other.execute(
                f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, $1)", rows
            )
        async with PinataClient.from_settings(settings) as pins:
            elsewhere = await SnapshotRuns.with_provider(other, pins, settings).run_one(MARKET)
    finally:
        await other.close()
    assert elsewhere.cid == (await runs.run_one(MARKET)).cid


async def test_who_may_vote_is_in_it(pool, runs, settings):
    await vote_rules.fix(pool, MARKET, VoteKind.PROPOSAL, VotingTerms(Rule.parse("funded;7"), 3))
    await pool.execute(COMMENT, "a comment")
    [made] = await runs.run_all()
    snapshot = parse(await fetch_from_gateway(settings.ipfs_gateway_url, made.cid))
    assert snapshot.voting_terms == [{"kind": "proposal", "rule": "funded;7", "min_votes": 3}]


async def test_the_head_of_the_vote_log_is_in_it(pool, runs, settings):
    leaves = [merkle.leaf_hash(entry) for entry in (b"one", b"two", b"three")]
    nodes = merkle.append(0, leaves, {})
    await pool.execute("INSERT INTO vote_logs VALUES ($1, 3)", MARKET)
    for node, value in nodes.items():
        await pool.execute("INSERT INTO vote_log_nodes VALUES ($1, $2, $3, $4)", MARKET, *node, value)
    [made] = await runs.run_all()
    snapshot = parse(await fetch_from_gateway(settings.ipfs_gateway_url, made.cid))
    assert (snapshot.vote_log.size, snapshot.vote_log.root) == (3, merkle.root(3, nodes).hex())


async def test_a_provider_that_is_away_loses_nothing(pool, runs, settings):
    await pool.execute(COMMENT, "kept")
    away = settings.model_copy(update={"pinata_api_url": "http://127.0.0.1:1"})
    async with PinataClient.from_settings(away) as pins:
        with pytest.raises(PinError):
            await SnapshotRuns.with_provider(pool, pins, away).run_all()
    [row] = await anchors(pool)
    assert row["content"] is not None
    assert row["pinned_at"] is None
    await runs.maintain()
    [row] = await anchors(pool)
    assert row["verified_at"] is not None


async def test_a_gateway_without_the_bytes_leaves_the_pin_open(pool, settings, runs):
    await pool.execute(COMMENT, "kept")
    elsewhere = settings.model_copy(update={"ipfs_gateway_url": "http://127.0.0.1:1"})
    async with PinataClient.from_settings(elsewhere) as pins:
        [made] = await SnapshotRuns.with_provider(pool, pins, elsewhere).run_all()
    assert not made.verified
    assert "gateway does not answer" in made.error
    [row] = await anchors(pool)
    assert (row["attempts"], row["verified_at"]) == (1, None)
    await runs.maintain()
    [row] = await anchors(pool)
    assert (row["verified_at"] is not None, row["last_error"], row["content"]) == (True, None, None)


async def test_the_snapshot_of_a_long_discussion_is_verified_too(pool, runs, settings):
    """4,300 comments of 1,000 characters of four bytes each are more than 16 MiB."""
    await pool.execute(
        "INSERT INTO discussions (market_id, wallet, content) "
        f"SELECT '{MARKET}', '{WALLET}', repeat(chr(128512), 1000) FROM generate_series(1, 4300)"
    )
    [made] = await runs.run_all()
    assert (made.verified, made.error) == (True, None)
    [report] = [report async for _, report in verify_history(settings.ipfs_gateway_url, made.cid, 1)]
    assert (report.comments, report.holds) == (4_300, True)


async def test_a_question_that_was_noted_before_any_provider_was_set_is_pinned_for_ever(pool, runs, settings):
    from zmart.ipfs.cid import cid_of

    content = b'{"question":"Will it?"}'
    await pool.execute(
        "INSERT INTO ipfs_anchors (kind, market_id, cid, content, size_bytes, provider) "
        "VALUES ('question', $1, $2, $3, $4, 'none')",
        MARKET,
        cid_of(content, 0),
        content,
        len(content),
    )
    await runs.maintain()
    [row] = await anchors(pool)
    assert (row["provider"], row["unpin_after"], row["verified_at"] is not None) == ("local", None, True)
    assert await fetch_from_gateway(settings.ipfs_gateway_url, row["cid"]) == content


async def test_after_its_days_a_snapshot_is_unpinned_at_the_provider_and_marked(pool, runs, settings):
    await pool.execute(COMMENT, "old")
    [old] = await runs.run_all()
    await pool.execute("UPDATE ipfs_anchors SET unpin_after = now() - interval '1 second'")
    await pool.execute(COMMENT, "new")
    [new] = await runs.run_all()
    await runs.maintain()
    first, second = await anchors(pool)
    assert first["unpinned_at"] is not None
    assert second["unpinned_at"] is None
    async with PinataClient.from_settings(settings) as pins:
        assert not await pins.is_pinned(old.cid)
        assert await pins.is_pinned(new.cid)
    with pytest.raises(PinError):
        await fetch_from_gateway(settings.ipfs_gateway_url, old.cid)
    await runs.maintain()
    assert await anchors(pool) == [first, second]


async def test_a_pin_that_the_provider_does_not_remove_delays_no_other(pool, runs, settings, monkeypatch):
    made = []
    for number in range(3):
        await pool.execute(COMMENT, f"old {number}")
        made.append((await runs.run_one(MARKET)).cid)
    await pool.execute(
        "UPDATE ipfs_anchors SET unpin_after = now() - interval '9 days' + id * interval '1 day'"
    )
    removed = PinataClient.unpin

    async def unpin(pins: PinataClient, cid: str) -> bool:
        if cid == made[0]:
            raise PinError("pinata refused with status 403: this pin is locked.")
        return await removed(pins, cid)

    with monkeypatch.context() as refusing:
        refusing.setattr(PinataClient, "unpin", unpin)
        with pytest.raises(PinError, match="locked"):
            await runs.maintain()
    assert [row["unpinned_at"] is not None for row in await anchors(pool)] == [False, True, True]
    await runs.maintain()
    assert (await anchors(pool))[0]["unpinned_at"] is not None


async def test_a_market_whose_snapshot_is_refused_delays_no_other(pool, runs):
    """A market that has a snapshot of a later day already, as after a clock was ahead, is left out of a run."""
    from datetime import timedelta

    other = "cd" * 32
    await rows.add_markets(pool, [rows.market_fold(other, address="OtherAddress" + "1" * 31, creator=WALLET)])
    await pool.execute(COMMENT, "of the market that is ahead")
    await runs.run_one(MARKET, today() + timedelta(days=30))
    await pool.execute(COMMENT.replace(MARKET, other), "of the other market")
    with pytest.raises(Conflict, match="is over"):
        await runs.run_all()
    stored = {row["market_id"]: row for row in await anchors(pool)}
    assert (stored[other]["snapshot_day"], stored[other]["verified_at"] is not None) == (today(), True)


class FailingFor(SnapshotBuilder):
    """A builder that raises the problems, one at each attempt, for MARKET, whose id is the lowest of the tests."""

    problems: list[Exception]

    async def build(self, market_id, day, *, once=False):
        if market_id == MARKET and self.problems:
            raise self.problems.pop(0)
        return await super().build(market_id, day, once=once)


def failing_runs(
    pool: Pool, settings: Settings, keeper: PinKeeper, problems: list[Exception]
) -> SnapshotRuns:
    builder = FailingFor(pool, settings.solana_program_id_core, keeper.provider)
    builder.problems = problems
    return SnapshotRuns(pool, builder, keeper)


@pytest.fixture
async def other(pool: Pool) -> str:
    """The id of another market. It and MARKET have a comment."""
    other = "cd" * 32
    await rows.add_markets(pool, [rows.market_fold(other, address="OtherAddress" + "1" * 31, creator=WALLET)])
    for market in (MARKET, other):
        await pool.execute(COMMENT.replace(MARKET, market), "a comment")
    return other


PROBLEMS = {
    "unforeseen": [
        asyncpg.ProgramLimitExceededError("total size of jsonb array elements exceeds the maximum")
    ],
    "twice busy": [Busy("PostgreSQL is busy")] * 2,
    "connection lost twice": [Unavailable("connection was closed in the middle of operation")] * 2,
}


@pytest.mark.parametrize("problems", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("has_provider", [True, False], ids=["provider", "no provider"])
async def test_whatever_fails_for_one_market_no_other_is_without_its_snapshot(
    pool, settings, other, problems, has_provider
):
    """W4: one market's comments were more than PostgreSQL takes, and no market after it got a snapshot any more."""
    refused = metrics.refused._value.get()
    target = (
        settings if has_provider else settings.model_copy(update={"pinata_api_url": "http://127.0.0.1:1"})
    )
    async with PinataClient.from_settings(target) as pins:
        keeper = SnapshotRuns.with_provider(pool, pins, target).keeper
        with pytest.raises(Conflict, match=f"1 market.s. got no snapshot. {MARKET}: {problems[0]}"):
            await failing_runs(pool, settings, keeper, [*problems]).run_all()
    assert metrics.refused._value.get() == refused + 1
    [stored] = await anchors(pool)
    assert (stored["market_id"], stored["verified_at"] is not None) == (other, has_provider)


async def test_a_market_for_which_postgresql_failed_once_is_tried_again(pool, runs, settings, other):
    problems = [Unavailable("connection was closed in the middle of operation")]
    made = await failing_runs(pool, settings, runs.keeper, problems).run_all()
    assert [each.verified for each in made] == [True, True]


async def test_a_run_ends_at_once_when_postgresql_is_unavailable_or_takes_no_writes(
    pool, runs, settings, other, monkeypatch
):
    """The schedule then repeats it: no market's failure is noted for a database that is unavailable."""
    with pytest.raises(ReadOnly):
        await failing_runs(pool, settings, runs.keeper, [ReadOnly("PostgreSQL accepts no writes")]).run_all()
    away = Unavailable("PostgreSQL is unavailable")
    reads = [[MARKET, other]]

    async def markets(db):
        if not reads:
            raise away
        return reads.pop()

    monkeypatch.setattr(snapshot_source, "markets", markets)
    with pytest.raises(Unavailable):
        await failing_runs(pool, settings, runs.keeper, [away]).run_all()
    assert await anchors(pool) == []


async def test_a_snapshot_that_another_process_stored_meanwhile_is_followed(
    pool, runs, settings, monkeypatch
):
    """The document is made outside of a transaction: nothing but the newest snapshot may be its previous one."""
    await pool.execute(COMMENT, "one")
    builder = SnapshotBuilder(pool, settings.solana_program_id_core, runs.keeper.provider)
    inner = SnapshotBuilder(pool, settings.solana_program_id_core, runs.keeper.provider)
    add_after, meanwhile = builder._add_after, []

    async def overtaken(latest, new):
        if not meanwhile:
            await pool.execute(COMMENT, "two")
            meanwhile.append(await inner.build(MARKET, today()))
            await pool.execute(COMMENT, "three")
        return await add_after(latest, new)

    monkeypatch.setattr(builder, "_add_after", overtaken)
    built = await builder.build(MARKET, today())
    assert built.is_new
    stored = await anchors(pool)
    assert [(row["previous_cid"], row["comments_count"]) for row in stored] == [
        (None, 2),
        (meanwhile[0].cid, 3),
    ]
    assert stored[1]["cid"] == built.cid


async def test_no_value_that_postgresql_returns_for_a_snapshot_grows_with_the_discussion(pool):
    """PostgreSQL allows 256 MB for a JSON array: 64,000 comments of the greatest length."""
    for _ in range(30):
        await pool.execute(COMMENT, "\U0001f600" * 1_000)
    async with pool.transaction() as connection:
        source = await snapshot_source.read(connection, MARKET)
    assert source is not None
    assert len(source.comments) == 30
    values = (getattr(source, name) for name in source.__struct_fields__)
    assert (
        max(len(text) for value in values for text in ([value] if isinstance(value, str) else value or ()))
        < 5_000
    )


async def test_an_unforeseen_failure_of_one_document_is_its_own_and_the_others_are_pinned(
    pool, runs, monkeypatch
):
    """The error of the document is stored, although PostgreSQL refuses the text as it is."""
    await pool.execute(COMMENT, "to be pinned")
    async with pool.transaction() as connection:
        broken = await documents.anchor(
            connection, "evidence", MARKET, cid_of(b"broken", 0), b"broken", "local"
        )
    real = PinataClient.pin

    async def pin(self, content, *arguments, **options):
        if content == b"broken":
            raise RuntimeError("no text of PostgreSQL: \0 \ud800")
        return await real(self, content, *arguments, **options)

    monkeypatch.setattr(PinataClient, "pin", pin)
    [made] = await runs.run_all()
    assert made.verified
    [row] = [row for row in await anchors(pool) if row["id"] == broken]
    assert (row["attempts"] > 0, row["verified_at"]) == (True, None)
    assert row["last_error"].startswith("no text of PostgreSQL: ")


async def test_documents_to_be_pinned_are_read_a_few_megabytes_at_a_time(pool, runs, settings):
    """W4: the bytes of all 500 documents of a batch were in memory at once, each of them up to some 100 MB."""
    contents = [bytes([number]) * 1_000 for number in range(6)]
    for content in contents:
        await documents.anchor(pool, "evidence", MARKET, cid_of(content, 0), content, runs.keeper.provider)
    sizes = [len(each.content) for each in await stored_anchors.open_anchors(pool, 500, most_bytes=1_500)]
    assert sizes == [1_000, 1_000]
    async with PinataClient.from_settings(settings) as pins:
        keeper = PinKeeper(pool, pins, settings.ipfs_gateway_url, 30, most_bytes=1_500)
        assert await keeper.pin_open() == 6
        assert await keeper.pin_open() == 0


async def test_bytes_that_another_row_still_needs_stay_at_the_provider(pool, runs, settings):
    await pool.execute(COMMENT, "shared")
    [made] = await runs.run_all()
    await pool.execute("UPDATE ipfs_anchors SET unpin_after = now() - interval '1 second'")
    await pool.execute(
        "INSERT INTO ipfs_anchors (kind, market_id, cid, size_bytes, provider, pinned_at, verified_at) "
        "VALUES ('evidence', $1, $2, 1, 'local', now(), now())",
        MARKET,
        made.cid,
    )
    await runs.maintain()
    async with PinataClient.from_settings(settings) as pins:
        assert await pins.is_pinned(made.cid)
    assert (await anchors(pool))[0]["unpinned_at"] is not None


async def test_a_market_may_be_named_by_address_and_a_day_that_is_over_is_refused(pool, runs):
    from datetime import timedelta

    for name in (ADDRESS, MARKET, MARKET.upper()):
        assert (await runs.run_one(name)).market_id == MARKET
    with pytest.raises(Conflict):
        await runs.run_one(MARKET, today() - timedelta(days=1))
    tomorrow = await runs.run_one(MARKET, today() + timedelta(days=1))
    assert (tomorrow.is_new, tomorrow.day) == (True, (today() + timedelta(days=1)).isoformat())
    for unknown in ("cd" * 32, "A" * 44, "\0" * 40):
        with pytest.raises(NotFound):
            await runs.run_one(unknown)


async def test_the_history_is_verified_from_the_gateway_alone(pool, runs, settings):
    for number in range(3):
        await pool.execute(COMMENT, str(number))
        made = await runs.run_one(MARKET)
    reports = [report async for _, report in verify_history(settings.ipfs_gateway_url, made.cid, 10)]
    assert [report.comments for report in reports] == [3, 2, 1]
    assert all(report.holds for report in reports)
    assert len([each async for each in verify_history(settings.ipfs_gateway_url, made.cid, 2)]) == 2


async def test_what_lies_before_a_predecessor_that_was_given_up_is_called_unknown(pool, runs, settings):
    made = []
    for number in range(3):
        await pool.execute(COMMENT, f"kept {number}")
        made.append((await runs.run_one(MARKET)).cid)
    async with PinataClient.from_settings(settings) as pins:
        await pins.unpin(made[0])
    reports = [report async for _, report in verify_history(settings.ipfs_gateway_url, made[2], 10)]
    assert [report.cid for report in reports] == made[:0:-1]
    assert all(report.holds for report in reports)
    last = reports[-1].findings[-1]
    assert (last.verdict, made[0] in last.text) == (Verdict.UNKNOWN, True)
    assert [report.is_whole for report in reports] == [True, False]
    assert all(finding.verdict is Verdict.HOLDS for finding in reports[0].findings)


async def test_a_predecessor_that_is_no_snapshot_breaks_the_one_that_names_it(pool, runs, settings):
    await pool.execute(COMMENT, "after a forgery")
    made = await runs.run_one(MARKET)
    genuine = await fetch_from_gateway(settings.ipfs_gateway_url, made.cid)
    async with PinataClient.from_settings(settings) as pins:
        stranger = (await pins.pin(canonical_json({"type": "other"}), "stranger.json")).cid
        changed = msgspec.json.decode(genuine) | {"previous": stranger}
        forged = (await pins.pin(canonical_json(changed), "forged.json")).cid
    [report] = [report async for _, report in verify_history(settings.ipfs_gateway_url, forged, 10)]
    assert not report.holds
    assert (report.findings[-1].verdict, stranger in report.findings[-1].text) == (Verdict.BROKEN, True)


@asynccontextmanager
async def asking(runs: SnapshotRuns) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(RunApi(runs, TOKEN))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
        yield http


async def test_an_operator_gets_a_snapshot_by_http_at_once(pool, runs):
    await pool.execute(COMMENT, "now")
    bearer = {"authorization": f"Bearer {TOKEN}"}
    async with asking(runs) as http:
        lower_case = {"authorization": f"bearer {TOKEN}"}
        answer = await http.post("/api/snapshots/run", json={"market_id": MARKET}, headers=lower_case)
        assert answer.status_code == 200
        [made] = answer.json()["snapshots"]
        assert (made["market_id"], made["verified"]) == (MARKET, True)
        everything = await http.post("/api/snapshots/run", headers=bearer)
        assert everything.json()["count"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/api/snapshots/run", b"{}", {}, 401),
        ("POST", "/api/snapshots/run", b"{}", {"authorization": "Bearer wrong"}, 401),
        ("POST", "/api/snapshots/run", b"{}", {"authorization": TOKEN}, 401),
        ("POST", "/api/snapshots/run", b"[", {"authorization": f"Bearer {TOKEN}"}, 400),
        ("POST", "/api/snapshots/run", b'{"market":1}', {"authorization": f"Bearer {TOKEN}"}, 400),
        ("POST", "/api/snapshots/run", b"[[[", {"authorization": f"Bearer {TOKEN}"}, 400),
        ("POST", "/api/snapshots/run", b'{"market_id":1e400}', {"authorization": f"Bearer {TOKEN}"}, 400),
        ("POST", "/api/snapshots/run", b" " * 5000, {"authorization": f"Bearer {TOKEN}"}, 413),
        ("GET", "/api/snapshots/run", b"", {"authorization": f"Bearer {TOKEN}"}, 405),
        ("POST", "/api/other", b"{}", {"authorization": f"Bearer {TOKEN}"}, 404),
        (
            "POST",
            "/api/snapshots/run",
            b'{"market_id":"%s"}' % (b"cd" * 32),
            {"authorization": f"Bearer {TOKEN}"},
            404,
        ),
    ],
)
async def test_whoever_asks_wrongly_is_told_why(runs, method, path, body, headers, status):
    async with asking(runs) as http:
        answer = await http.request(method, path, content=body, headers=headers)
        assert answer.status_code == status
        fields = set(answer.json())
        assert fields - {"details"} == {"error", "message", "status", "timestamp", "path", "request_id"}
        assert answer.json()["message"]
        assert ("details" in fields) == (body == b'{"market":1}')


@asynccontextmanager
async def refusing_provider(status: int) -> AsyncIterator[str]:
    """Serve a pin provider that answers every request with `status`; yield its URL."""

    async def refuse(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"the plan's limit is reached"})

    async with http_servers.serving(refuse) as url:
        yield url


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
@pytest.mark.parametrize("body", [{}, {"market_id": MARKET}], ids=["all", "one"])
async def test_an_operator_is_told_by_http_that_the_provider_refuses(pool, settings, status, body):
    await pool.execute(COMMENT, "stored first")
    async with refusing_provider(status) as provider:
        refused = settings.model_copy(update={"pinata_api_url": provider})
        async with PinataClient.from_settings(refused) as pins:
            application = RunApi(SnapshotRuns.with_provider(pool, pins, refused), TOKEN)
            async with http_servers.serving(application) as url, httpx.AsyncClient(base_url=url) as http:
                bearer = {"authorization": f"Bearer {TOKEN}"}
                answer = await http.post("/api/snapshots/run", json=body, headers=bearer)
    assert answer.status_code == 502
    assert f"refused with status {status}: the plan's limit is reached." in answer.json()["message"]
    assert [row["pinned_at"] for row in await anchors(pool)] == [None]


def kinds_of(error: type[Exception]) -> set[type[Exception]]:
    """Return an error's class and all of its subclasses that the code has."""
    sources = Path(zmart.__file__).parent
    for path in sources.rglob("*.py"):
        if error.__name__ in path.read_text("utf-8"):
            importlib.import_module(".".join(path.relative_to(sources.parent).with_suffix("").parts))
    found, open_kinds = set(), [error]
    while open_kinds:
        kind = open_kinds.pop()
        if kind.__module__.startswith("zmart."):
            found.add(kind)
        open_kinds += kind.__subclasses__()
    return found


async def test_every_kind_of_an_error_has_the_status_of_the_error(settings):
    """A snapshot that fails by a subclass of an error is answered as the error itself."""
    expected = {NotFound: 404, Conflict: 409, PinError: 502}
    cases = [(kind, status) for error, status in expected.items() for kind in kinds_of(error)]
    assert len(cases) > 5

    class Failing:
        async def run_all(self):
            raise problem

    async with asking(Failing()) as http:
        for kind, status in cases:
            problem = kind.__new__(kind)
            problem.args = ("it failed",)
            answer = await http.post("/api/snapshots/run", headers={"authorization": f"Bearer {TOKEN}"})
            assert (kind, answer.status_code, answer.json()["message"]) == (kind, status, "it failed")


async def test_the_schedule_makes_snapshots_by_itself(pool, settings):
    await pool.execute(COMMENT, "by the clock")
    quick = settings.model_copy(update={"snapshots_cron": "* * * * * *"})
    async with running_service(await SnapshotService.open(quick)) as service:
        await until(lambda: anchors(pool), lambda rows: any(row["verified_at"] for row in rows))
        assert (await service.readiness()).ready


async def test_a_provider_that_cannot_be_used_is_alerted_until_it_can(pool, runs, settings):
    """A provider that cannot be used raises an alert, although no pin has failed, since none was tried."""
    open_alerts = "SELECT message FROM alerts WHERE key = 'snapshots failing' AND resolved_at IS NULL"
    await pool.execute(COMMENT, "kept")
    away = settings.model_copy(update={"pinata_api_url": "http://127.0.0.1:1"})
    async with PinataClient.from_settings(away) as pins:
        with pytest.raises(PinError):
            await SnapshotRuns.with_provider(pool, pins, away).run_all()
    async with running_service(await SnapshotService.open(away)):
        [row] = await until(lambda: pool.fetch(open_alerts))
        assert "Nothing can be pinned" in row["message"]
    async with running_service(await SnapshotService.open(settings)):
        await until(lambda: pool.fetch(open_alerts), lambda rows: not rows)


async def test_a_provider_that_was_away_for_the_daily_run_makes_the_service_unready_only_while_it_is(
    pool, settings, monkeypatch
):
    async def refuse(pins: PinataClient) -> None:
        raise PinError("local does not answer.")

    await pool.execute(COMMENT, "stored at midnight, pinned a minute later")
    service = await SnapshotService.open(settings)
    try:
        with monkeypatch.context() as away:
            away.setattr(PinataClient, "check", refuse)
            await service._day()
            await service._maintain()
            assert "does not answer" in (await service.readiness()).reason
        await service._maintain()
        assert (await anchors(pool))[0]["verified_at"] is not None
        assert (await service.readiness()).reason == ""
    finally:
        await service._pins.close()
        await service._pool.close()


async def test_the_text_of_a_market_made_elsewhere_comes_within_seconds_and_is_pinned(pool, settings):
    """A10: the service itself fetches the text of a market that was written elsewhere, from a running pin store."""
    raw = market_document.compose(
        MarketDocument(
            program=WALLET, market_id=MARKET, creator=WALLET, question="Will this text be fetched?", description="",
            category="other", tags=[], ends_at=datetime(2100, 1, 1, tzinfo=UTC), b_parameter=1, initial_liquidity=1,
        )
    )  # fmt: skip
    async with running_service(await SnapshotService.open(settings)) as service:
        async with asyncio.timeout(30), PinataClient.from_settings(settings) as pins:
            cid = (await pins.pin(raw, "elsewhere.json", cid_version=0)).cid
            await pool.execute("UPDATE markets SET question_cid = $1", cid)
            await until(
                lambda: pool.fetchval("SELECT count(*) > 0 FROM ipfs_anchors WHERE verified_at IS NOT NULL")
            )
        assert await pool.fetchval("SELECT question FROM market_documents") == "Will this text be fetched?"
        assert (await service.readiness()).details["texts_waiting"] == 0


async def test_the_command_makes_and_verifies_a_snapshot(pool, settings, providers, tmp_path):
    await pool.execute(COMMENT, "by command")
    env = commands.environment(database_url=settings.database_url.get_secret_value(), **providers)

    async def zmart(*arguments: str) -> str:
        status, out, err = await commands.run(*arguments, env=env)
        assert status == 0, err
        return out

    [made] = json.loads(await zmart("snapshot", "--json"))
    assert made["verified"]
    [report] = json.loads(await zmart("verify", "snapshot", made["cid"], "--json"))
    assert (report["holds"], report["comments"]) == (True, 1)
    assert "The snapshot holds." in await zmart("verify", "snapshot", made["cid"])
    log = tmp_path / "log.json"
    log.write_bytes(as_file([], made["market_id"]))
    assert "is the beginning of the copy" in await zmart("verify", "snapshot", made["cid"], "--log", str(log))
