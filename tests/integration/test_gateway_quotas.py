"""A11, A12: tests of quotas on pins, drafts and remembered transactions, which depend on a wallet's stake."""

from __future__ import annotations

import base64
import dataclasses
import secrets
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from solders.keypair import Keypair

from kit import rows
from kit.chain_life import CID, SOL, Driver
from kit.gateway import Site, add_market, add_position, site
from kit.gateway_server import market_on_chain
from kit.wallets import address_of
from zmart.chain import compose
from zmart.chain.rpc_errors import RpcError
from zmart.local.chain.genesis import fund
from zmart.market.types import Lamports, MarketId
from zmart.services.gateway.api import relay, stakes, text_quotas
from zmart.services.gateway.http.rate_limits import RateLimitPolicy
from zmart.store import anchors, documents

NEW = {
    "question": "Will the harbour be frozen in February?",
    "end_date": "2100-02-28T12:00:00Z",
    "b_parameter": 20 * SOL,
    "initial_liquidity": 15 * SOL,
}


@pytest.fixture
async def here(database_url: str, redis_url: str, local_chain: object) -> AsyncIterator[Site]:
    limits = {f"rate_limit_{name}": 10_000 for name in ("reads", "writes", "nonce")}
    async with site(database_url, redis_url, solana_rpc_url=local_chain.rpc_url, **limits) as found:
        yield found


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def funded(here: Site, lamports: int = 100 * SOL) -> Keypair:
    key = Keypair()
    await fund(here.gateway.context.chain(), address_of(key), Lamports(lamports))
    return key


async def use_up(here: Site, policy: RateLimitPolicy, key: str, left: int = 0) -> None:
    for _ in range(policy.requests - left):
        assert (await here.gateway.context.limiter.take(policy, key)).allowed


async def signed(here: Site, key: Keypair, question_cid: str = CID) -> str:
    """Return a signed transaction, in base64, that creates a market; its wallet may be unable to pay."""
    chain = here.gateway.context.chain()
    instruction = here.gateway.context.program.instructions.create_market(
        address_of(key), MarketId(secrets.token_hex(32)), b_parameter=10 * SOL, initial_liquidity=7 * SOL,
        ipfs_question_hash=question_cid,
    )  # fmt: skip
    latest = await chain.get_latest_blockhash()
    message = compose.compile(key.pubkey(), [instruction], latest.blockhash, compute_unit_limit=200_000)
    return base64.b64encode(bytes(compose.sign(message, [key]))).decode()


async def test_a_transaction_that_the_node_refuses_is_not_remembered(here: Site, redis: Redis) -> None:
    """A11: a transaction that the node refuses is not stored in Redis; one that it accepts is, for about a day."""
    for _ in range(5):
        refused = await here.post("/api/transactions", {"transaction": await signed(here, Keypair())})
        assert refused.status_code == 409, refused.text
    assert await redis.keys("relay:*") == []
    sent = await here.post("/api/transactions", {"transaction": await signed(here, await funded(here))})
    assert sent.status_code == 202, sent.text
    [remembered] = await redis.keys("relay:*")
    assert await redis.ttl(remembered) > 80_000


async def test_a_refusal_forgets_nothing_that_was_accepted_before(here: Site, redis: Redis) -> None:
    """A11: an accepted transaction stays remembered if the same bytes are refused later.

    That happens when its blockhash has expired or its wallet is empty. The answer is that of the first request: the
    transaction has landed, or may land.
    """
    text = await signed(here, await funded(here, 8 * SOL))
    assert (await here.post("/api/transactions", {"transaction": text})).status_code == 202
    chain = here.gateway.context.chain()
    before = await redis.keys("relay:*")

    async def refuses(raw: bytes, *, skip_preflight: bool = False) -> None:
        raise RpcError("sendTransaction", -32002, "Transaction simulation failed: Blockhash not found", None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "send_raw_transaction", refuses)
        assert (await here.post("/api/transactions", {"transaction": text})).status_code == 202
    assert await redis.keys("relay:*") == before != []


@pytest.mark.parametrize("policy", [relay.RELAYED, relay.RELAYED_IN_ALL], ids=["of one", "in all"])
async def test_above_its_quota_a_transaction_is_remembered_as_long_as_it_may_land(
    here: Site, redis: Redis, policy: RateLimitPolicy
) -> None:
    """A11, C25: above the quota of a fee payer or of all, a transaction is relayed but remembered for 600 s at most."""
    key = await funded(here)
    await use_up(here, policy, str(key.pubkey()) if policy is relay.RELAYED else "all")
    sent = await here.post("/api/transactions", {"transaction": await signed(here, key)})
    assert sent.status_code == 202, sent.text
    [remembered] = await redis.keys("relay:*")
    assert 0 < await redis.ttl(remembered) <= 600


async def test_nothing_is_pinned_for_a_wallet_that_does_not_hold_its_deposit(here: Site) -> None:
    """A12: no document is pinned for a wallet without the deposit; its draft is kept, and pinned at a later request."""
    key = await funded(here, 14 * SOL)
    token = await here.sign_in(key)
    made = await here.post("/api/markets", NEW, token)
    assert (made.status_code, made.json()["simulation"]["ok"]) == (201, False)
    assert await anchors.open_anchors(here.pool, 10) == []
    await fund(here.gateway.context.chain(), address_of(key), Lamports(100 * SOL))
    again = await here.post("/api/markets", NEW, token)
    assert again.json()["id"] == made.json()["id"]
    [pin] = await anchors.open_anchors(here.pool, 10)
    assert pin.cid == made.json()["cid"]


async def test_a_draft_without_a_pin_gets_one_when_its_market_is_on_chain(here: Site) -> None:
    made = (await here.post("/api/markets", NEW, await here.sign_in(Keypair()))).json()
    assert await documents.anchor_landed(here.pool, "pinata") == 0
    await rows.add_markets(here.pool, [rows.market_fold(made["id"], question_cid=made["cid"])])
    assert await documents.anchor_landed(here.pool, "pinata") == 1
    assert await documents.anchor_landed(here.pool, "pinata") == 0
    [pin] = await anchors.open_anchors(here.pool, 10)
    assert (pin.cid, pin.market_id) == (made["cid"], made["id"])


FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON market_documents FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


@pytest.fixture(params=[True, False], ids=["funded", "unfunded"])
async def with_two_left(here: Site, request: pytest.FixtureRequest) -> str:
    """The token of a wallet that may store two more drafts today."""
    key = await funded(here) if request.param else Keypair()
    policy, of = (
        (stakes.DRAFTS, str(key.pubkey())) if request.param else (stakes.UNFUNDED_DRAFTS, "127.0.0.1")
    )
    await use_up(here, policy, of, left=2)
    return await here.sign_in(key)


async def test_a_draft_that_cannot_be_stored_uses_up_no_quota(here: Site, with_two_left: str) -> None:
    """C4: a client that repeated its request on a full disk had no drafts left for the rest of the day."""
    await here.pool.execute(FULL_DISK)
    for _ in range(5):
        assert (await here.post("/api/markets", NEW, with_two_left)).status_code == 503
    await here.pool.execute("DROP TRIGGER full_disk ON market_documents")
    made = [
        await here.post("/api/markets", NEW | {"question": f"Will it freeze {number} times?"}, with_two_left)
        for number in range(3)
    ]
    assert [each.status_code for each in made] == [201, 201, 429]


async def test_a_request_for_a_stored_draft_is_not_counted(here: Site, with_two_left: str) -> None:
    """A client may repeat its request until a transaction can be built for it."""
    made = [await here.post("/api/markets", NEW, with_two_left) for _ in range(5)]
    assert {each.status_code for each in made} == {201}
    assert len({each.json()["id"] for each in made}) == 1


async def test_drafts_have_a_quota_by_wallet_and_those_of_unfunded_wallets_by_address(here: Site) -> None:
    """A12: each wallet has a quota of drafts a day, and all wallets of an address that lack the deposit share one."""
    rich, other = await funded(here), await funded(here)
    await use_up(here, stakes.DRAFTS, str(rich.pubkey()))
    await use_up(here, stakes.UNFUNDED_DRAFTS, "127.0.0.1")
    refused = await here.post("/api/markets", NEW, await here.sign_in(rich))
    assert refused.status_code == 429
    assert "drafts a day" in refused.json()["message"]
    assert int(refused.headers["retry-after"]) > 0
    assert (await here.post("/api/markets", NEW, await here.sign_in(Keypair()))).status_code == 429
    assert (await here.post("/api/markets", NEW, await here.sign_in(other))).status_code == 201


async def test_a_deposit_that_is_passed_on_from_wallet_to_wallet_meets_a_quota_by_address(
    database_url: str, redis_url: str, local_chain: object
) -> None:
    """A12: new wallets of one IPv6 subnet that are funded one after the other share a quota of drafts."""
    proxied = {
        "solana_rpc_url": local_chain.rpc_url,
        "trusted_proxies": "127.0.0.1",
        "rate_limit_nonce": 1_000,
    }
    async with site(database_url, redis_url, **proxied) as here:
        context, mine = here.gateway.context, "2001:db8:1:2::"
        for policy, most in ((stakes.DRAFTS, 400), (stakes.EVIDENCE, 200)):
            assert stakes.shared_by_address(context, policy).requests == most
        await use_up(here, stakes.shared_by_address(context, stakes.DRAFTS), f"{mine}/64")
        token = {"authorization": f"Bearer {await here.sign_in(await funded(here))}"}
        for other in (1, 2):
            from_here = {"x-forwarded-for": f"{mine}{other}"}
            refused = await here.http.post("/api/markets", json=NEW, headers=token | from_here)
            assert refused.status_code == 429, refused.text
            assert "400 drafts" in refused.json()["message"]
            assert int(refused.headers["retry-after"]) > 0
        from_there = {"x-forwarded-for": "2001:db8:1:3::1"}
        assert (await here.http.post("/api/markets", json=NEW, headers=token | from_there)).status_code == 201


async def test_where_many_clients_share_an_address_its_quota_is_as_large_as_its_rate(here: Site) -> None:
    """A12: the daily quota of an address is at least RATE_LIMIT_WRITES, which is high on the local stack.

    There the demo and the tests share one address.
    """
    shared = stakes.shared_by_address(here.gateway.context, stakes.EVIDENCE)
    assert (shared.requests, shared.window_s) == (10_000, 86_400)


async def test_evidence_is_kept_for_a_proposal_that_would_succeed(
    here: Site, database_url: str, local_chain: object
) -> None:
    """A12: evidence is pinned only for a proposal that would succeed, within quotas of its wallet and its address."""
    market = await market_on_chain(local_chain, database_url)
    body = {"outcome": True, "evidence": "The harbour master's log. " * 700}
    stranger = await here.sign_in(Keypair())
    answer = await here.post(f"/api/markets/{market}/resolve", body, stranger)
    assert (answer.status_code, answer.json()["simulation"]["ok"]) == (200, False), answer.text
    assert await anchors.open_anchors(here.pool, 10) == []
    key = await funded(here)
    token = await here.sign_in(key)
    await Driver(local_chain, here.gateway.context.chain()).travel(25 * 3_600)
    answer = await here.post(f"/api/markets/{market}/resolve", body, token)
    assert answer.json()["simulation"]["ok"], answer.text
    [pin] = await anchors.open_anchors(here.pool, 10)
    assert pin.cid == answer.json()["ipfs_evidence_hash"]
    await use_up(
        here, RateLimitPolicy(stakes.EVIDENCE.name, stakes.EVIDENCE.requests - 1, 86_400), str(key.pubkey())
    )
    assert (await here.post(f"/api/markets/{market}/resolve", body, token)).status_code == 429
    await use_up(here, RateLimitPolicy(f"{stakes.EVIDENCE.name}-of-address", 9_999, 86_400), "127.0.0.1")
    another = await here.sign_in(await funded(here))
    above = await here.post(f"/api/markets/{market}/resolve", body, another)
    assert (above.status_code, "10000 documents" in above.json()["message"]) == (429, True), above.text


@pytest.fixture
async def talking(database_url: str, redis_url: str) -> AsyncIterator[Site]:
    async with site(database_url, redis_url, rate_limit_nonce=1_000) as found:
        yield found


@pytest.mark.parametrize("policy", ["COMMENTS", "COMMENTS_OF_ADDRESS", "COMMENTS_ON_MARKET"])
async def test_comments_have_a_quota_by_wallet_by_address_and_by_market(talking: Site, policy: str) -> None:
    """A key pair costs nothing, and each comment is in all later snapshots of its market."""
    here, key, market = talking, Keypair(), await add_market(talking.pool, 1)
    limit: RateLimitPolicy = getattr(text_quotas, policy)
    of = {"COMMENTS": address_of(key), "COMMENTS_OF_ADDRESS": "127.0.0.1", "COMMENTS_ON_MARKET": market}[
        policy
    ]
    await use_up(here, limit, of, left=1)
    token, comment = await here.sign_in(key), {"market_id": market, "content": "It froze in 1963."}
    last = await here.post("/api/discussions", comment, token)
    assert last.status_code == 201, last.text
    above = await here.post(f"/api/discussions/{market}", {"content": "It froze in 1963."}, token)
    assert above.status_code == 429, above.text
    assert f"More than {limit.requests} {limit.name} a day" in above.json()["message"]
    assert int(above.headers["retry-after"]) > 0
    assert await here.pool.fetchval("SELECT count(*) FROM discussions") == 1


async def test_wallets_without_a_part_in_a_market_silence_none_that_has_one(talking: Site) -> None:
    here, trader, creator = talking, Keypair(), Keypair()
    market = await add_market(here.pool, 1)
    await rows.change_market(here.pool, market, creator=address_of(creator))
    await add_position(here.pool, market, address_of(trader), 10**9, 0, 10**9)
    await use_up(here, text_quotas.COMMENTS_ON_MARKET, market, left=0)
    statuses = []
    for key in (Keypair(), trader, creator):
        token, comment = await here.sign_in(key), {"market_id": market, "content": "It froze in 1963."}
        statuses.append((await here.post("/api/discussions", comment, token)).status_code)
    assert statuses == [429, 201, 201]


async def test_a_comment_that_is_refused_or_not_stored_is_not_counted(talking: Site) -> None:
    here, key, market = talking, Keypair(), await add_market(talking.pool, 1)
    token, comment = await here.sign_in(key), {"market_id": market, "content": "It froze in 1963."}
    await use_up(here, text_quotas.COMMENTS, address_of(key), left=1)
    await here.pool.execute(FULL_DISK.replace("market_documents", "discussions"))
    assert (await here.post("/api/discussions", comment, token)).status_code == 503
    assert (await here.post("/api/discussions", comment | {"market_id": "ef" * 32}, token)).status_code == 404
    await here.pool.execute("DROP TRIGGER full_disk ON discussions")
    assert [(await here.post("/api/discussions", comment, token)).status_code for _ in range(2)] == [201, 429]


@pytest.mark.parametrize("policy", ["PROFILES", "PROFILES_OF_ADDRESS"])
async def test_profiles_have_a_quota_by_wallet_and_by_address(talking: Site, policy: str) -> None:
    here, key = talking, Keypair()
    limit: RateLimitPolicy = getattr(text_quotas, policy)
    await use_up(here, limit, address_of(key) if policy == "PROFILES" else "127.0.0.1", left=1)
    token, path = {"authorization": f"Bearer {await here.sign_in(key)}"}, f"/api/users/{address_of(key)}"
    answers = [
        await here.http.put(path, json={"display_name": name}, headers=token) for name in ("Ada", "Bob")
    ]
    assert [each.status_code for each in answers] == [200, 429], answers[0].text
    assert f"More than {limit.requests} {limit.name} a day" in answers[1].json()["message"]
    assert (await here.get(path)).json()["display_name"] == "Ada"


async def test_a_daily_quota_is_never_less_than_what_is_allowed_in_a_minute(here: Site) -> None:
    """On the local stack the demo and the tests share an address and a few wallets for days."""
    context = here.gateway.context
    settings = context.settings.model_copy(update={"rate_limit_comments": 20_000})
    context = dataclasses.replace(context, settings=settings)
    uses = await text_quotas.uses_of_comment(context, address_of(Keypair()), "127.0.0.1", MarketId("ab" * 32))
    assert [policy.requests for policy, _ in uses] == [20_000] * 3
