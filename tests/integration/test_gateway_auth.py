"""Tests of how a request proves who sends it: by a session, a signature or the operator's token."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from urllib.parse import quote

import base58
import httpx
import pytest
import redis.asyncio

from kit.gateway import (
    ADMIN,
    OPERATOR,
    add_market,
    ballot,
    legacy_body,
    legacy_header,
    site,
)
from kit.wallets import address, market_id, wallet

Encode = Callable[[bytes], bytes]


async def test_a_wallet_signs_in_and_out(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        requested = (await here.post("/api/auth/nonce", {"wallet": address(5)})).json()
        assert requested["message"].startswith("gateway wants you to sign in with your Solana account:\n")
        for line in (
            address(5),
            "URI: ",
            "Version: 1",
            "Chain ID: ",
            f"Nonce: {requested['nonce']}",
            "Expiration Time: ",
        ):
            assert line in requested["message"]
        token = await here.sign_in(wallet(5))
        comment = {"content": "Hello", "market_id": market}
        assert (await here.post("/api/discussions", comment, token)).status_code == 201
        assert (await here.post("/api/auth/logout", token=token)).status_code == 200
        assert (await here.post("/api/discussions", comment, token)).status_code == 401


PRODUCTION = {"zmart_env": "production", "helius_webhook_secret": "the secret of a webhook, of 32 characters"}
LISTED = {
    **PRODUCTION,
    "auth_domain": "app.example.org",
    "public_api_url": "https://api.example.org",
    "cors_origin": "https://markets.example.org,https://beta.example.org:8443",
}
UNLISTED = {**PRODUCTION, "auth_domain": "", "public_api_url": ""}
LOCAL = {"public_api_url": ""}


@pytest.mark.parametrize(
    ("settings", "headers", "uri"),
    [
        (LISTED, {"host": "app.example.org"}, "https://app.example.org"),
        (LISTED, {"host": "api.example.org"}, "https://api.example.org"),
        (LISTED, {"host": "API.example.org:443"}, "https://api.example.org"),
        (LISTED, {"host": "markets.example.org"}, "https://markets.example.org"),
        (LISTED, {"host": "beta.example.org:8443"}, "https://beta.example.org:8443"),
        (
            LISTED,
            {"host": "10.0.0.7:4000", "origin": "https://markets.example.org"},
            "https://markets.example.org",
        ),
        (LISTED, {"host": "api.example.org", "origin": "https://app.example.org"}, "https://app.example.org"),
        (LISTED, {"host": "api.example.org", "origin": "null"}, "https://api.example.org"),
        (LISTED, {"host": "127.0.0.1:4000"}, "https://app.example.org"),
        (UNLISTED, {"host": "localhost:4444"}, "http://localhost:4444"),
        (LOCAL, {"host": "127.0.0.1:5400"}, "http://127.0.0.1:5400"),
        (LOCAL, {"host": "127.0.0.1:5400", "origin": "http://localhost:5173"}, "http://localhost:5173"),
        (LOCAL, {"host": "[::1]:5400"}, "http://[::1]:5400"),
        ({"auth_domain": "App.Example.org"}, {"host": "app.example.org"}, "https://app.example.org"),
    ],
)
async def test_the_sign_in_text_names_the_page_that_asks(
    database_url: str, redis_url: str, settings: dict[str, object], headers: dict[str, str], uri: str
) -> None:
    """W21: the text to sign names the host of the requesting page: wallets refuse a sign-in with another domain."""
    async with site(database_url, redis_url, **settings) as here:
        asked = await here.http.post("/api/auth/nonce", json={"wallet": address(5)}, headers=headers)
        assert asked.status_code == 200, asked.text
        message = asked.json()["message"]
        domain = uri.partition("://")[2]
        assert message.startswith(f"{domain} wants you to sign in with your Solana account:\n{address(5)}\n")
        assert f"\nURI: {uri}\n" in message
        proof = {
            "wallet": address(5),
            "message": message,
            "signature": str(wallet(5).sign_message(message.encode())),
        }
        verified = await here.http.post("/api/auth/verify", json=proof, headers=headers)
        assert verified.status_code == 200, verified.text


@pytest.mark.parametrize(
    ("settings", "headers", "field"),
    [
        (LISTED, {"host": "evil.example"}, "Host"),
        (LISTED, {"host": "example.org"}, "Host"),
        (LISTED, {"host": "beta.example.org"}, "Host"),
        (LISTED, {"host": "127.0.0.1.evil.example"}, "Host"),
        (LISTED, {"host": "localhost.evil.example:4000"}, "Host"),
        (LISTED, {"host": "api.example.org", "origin": "https://evil.example"}, "Origin"),
        (LISTED, {"host": "api.example.org", "origin": "http://localhost:3000"}, "Origin"),
        (LISTED, {"host": "api.example.org", "origin": "https://app.example.org@evil.example"}, "Origin"),
        (UNLISTED, {"host": "markets.example.org"}, "Host"),
        (LOCAL, {"host": "markets.example.org"}, "Host"),
        (LOCAL, {"host": "127.0.0.1:5400", "origin": "http://192.168.0.7:3000"}, "Origin"),
    ],
)
async def test_a_page_that_is_not_listed_gets_no_text_to_sign_and_the_settings_that_list(
    database_url: str, redis_url: str, settings: dict[str, object], headers: dict[str, str], field: str
) -> None:
    """W21: a page whose host or origin no setting lists gets a 400 that names the settings, and no text to sign.

    A text for any host would help a page that imitates this one.
    """
    async with site(database_url, redis_url, **settings) as here:
        refused = await here.http.post("/api/auth/nonce", json={"wallet": address(5)}, headers=headers)
        assert refused.status_code == 400
        assert refused.json()["details"][0]["field"] == field
        for setting in ("AUTH_DOMAIN", "PUBLIC_API_URL", "CORS_ORIGIN"):
            assert setting in refused.json()["message"]


async def test_a_nonce_is_taken_once_even_at_the_same_moment(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        key = wallet(1)
        message = (await here.post("/api/auth/nonce", {"wallet": address(1)})).json()["message"]
        body = {
            "wallet": address(1),
            "message": message,
            "signature": str(key.sign_message(message.encode())),
        }
        answers = await asyncio.gather(*(here.post("/api/auth/verify", body) for _ in range(8)))
        assert sorted(a.status_code for a in answers) == [200] + [401] * 7


async def test_another_wallets_signature_or_text_signs_nobody_in(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        message = (await here.post("/api/auth/nonce", {"wallet": address(1)})).json()["message"]
        forged = {
            "wallet": address(1),
            "message": message,
            "signature": str(wallet(2).sign_message(message.encode())),
        }
        assert (await here.post("/api/auth/verify", forged)).status_code == 401
        for changed in (message.replace("gateway", "evil"), message + " ", "Nonce: " + "a" * 32):
            signature = str(wallet(1).sign_message(changed.encode()))
            body = {"wallet": address(1), "message": changed, "signature": signature}
            assert (await here.post("/api/auth/verify", body)).status_code in (400, 401)
        assert (await here.post("/api/auth/nonce", {"wallet": "not base58"})).status_code == 400


async def test_a_forged_or_foreign_token_is_nobodys(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        token = await here.sign_in(wallet(1))
        body = {"content": "Hello", "market_id": market_id(1)}
        head, payload, seal = token.split(".")
        for bad in (
            f"{head}.{payload}.{seal[::-1]}",
            f"{head}.{payload[:-2]}aa.{seal}",
            "zs1.x",
            "junk",
            "zs1." + "a" * 999,
        ):
            assert (await here.post("/api/discussions", body, bad)).status_code == 401
    async with site(database_url, redis_url, with_rules=False, auth_token_secret="another") as elsewhere:
        assert (await elsewhere.post("/api/discussions", body, token)).status_code == 401


async def test_existing_clients_may_sign_their_bodies_or_a_header(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        body = legacy_body(wallet(1), content="Signed body", market_id=market)
        assert (await here.post("/api/discussions", body)).status_code == 201
        flat = legacy_body(wallet(2))
        nested = {"content": "Nested", "market_id": market, "_auth": flat}
        assert (await here.post("/api/discussions", nested)).status_code == 201
        header = {"authorization": legacy_header(wallet(3))}
        plain = {"content": "Header", "market_id": market}
        assert (await here.http.post("/api/discussions", json=plain, headers=header)).status_code == 201


@pytest.mark.parametrize("form", ["body", "header"])
async def test_a_legacy_signature_serves_one_write_once(database_url: str, redis_url: str, form: str) -> None:
    """A18: one legacy signature serves one write, not a repetition of it, another comment or another call."""
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        proof = legacy_body(wallet(1)) if form == "body" else {}
        headers = {} if form == "body" else {"authorization": legacy_header(wallet(1))}
        comment = {**proof, "content": "First", "market_id": market}

        async def post(body: dict[str, object]) -> httpx.Response:
            return await here.http.post("/api/discussions", json=body, headers=headers)

        answers = await asyncio.gather(*(post(comment) for _ in range(4)))
        statuses = [answer.status_code for answer in answers]
        assert statuses.count(201) == 1
        assert set(statuses) <= {201, 401, 503}, "a busy Redis is no proof"
        assert (await post(comment)).status_code == 401
        refused = await post({**comment, "content": "Second"})
        assert refused.status_code == 401
        assert "another request" in refused.json()["message"]
        profile = {"display_name": "Eve", **proof}
        path = f"/api/users/{address(1)}"
        assert (await here.http.put(path, json=profile, headers=headers)).status_code == 401
        assert (await here.get(f"/api/discussions/{market}")).json()["count"] == 1


@pytest.mark.parametrize(
    "path",
    ["/api/markets?state=DRAFT", "/api/markets", f"/api/markets/{market_id(1)}", f"/api/users/{address(1)}"],
)
async def test_a_legacy_signature_that_came_with_a_read_serves_no_write(
    database_url: str, redis_url: str, path: str
) -> None:
    """A18: a legacy signature that came with a read serves no write.

    A person who saw it in a log or at a proxy can only read with it.
    """
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        for key in (wallet(1), ADMIN):
            headers = {"authorization": legacy_header(key)}
            for _ in range(2):
                assert (await here.get(path, headers=headers)).status_code == 200
            comment = {"content": "Hello", "market_id": market}
            assert (
                await here.http.post("/api/discussions", json=comment, headers=headers)
            ).status_code == 401
            cancelled = await here.http.post(f"/api/markets/{market}/cancel", headers=headers)
            assert cancelled.status_code == 401


async def test_a_legacy_signature_that_has_written_reads_nothing_private(
    database_url: str, redis_url: str
) -> None:
    """A18: a legacy signature that served a write does not open a private read; public reads still answer."""
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        headers = {"authorization": legacy_header(wallet(1))}
        comment = {"content": "Hello", "market_id": market}
        assert (await here.http.post("/api/discussions", json=comment, headers=headers)).status_code == 201
        assert (await here.get("/api/markets?state=DRAFT", headers=headers)).status_code == 401
        assert (await here.get("/api/markets", headers=headers)).status_code == 200


@pytest.mark.parametrize("form", ["body", "header"])
@pytest.mark.parametrize(
    ("accepted", "host", "status"),
    [
        (True, "", 201), (True, "app.example.org", 201), (True, "gateway", 201), (True, "zmart.example.com", 401),
        ("named", "", 401), ("named", "app.example.org", 201), ("named", "zmart.example.com", 401),
        (False, "app.example.org", 401),
    ],
)  # fmt: skip
async def test_a_legacy_text_that_names_a_host_counts_at_its_deployment(
    database_url: str, redis_url: str, form: str, accepted: object, host: str, status: int
) -> None:
    """A18: a legacy text that names another deployment's host is refused here.

    With "named" as the value of AUTH_LEGACY_SIGNATURES a text must name this deployment's host.
    """
    settings = {"auth_legacy_signatures": accepted, "auth_domain": "app.example.org"}
    async with site(database_url, redis_url, **settings) as here:
        comment = {"content": "Hello", "market_id": await add_market(here.pool, 1)}
        headers = {"authorization": legacy_header(wallet(1), host)} if form == "header" else {}
        body = legacy_body(wallet(1), host=host, **comment) if form == "body" else comment
        answer = await here.http.post("/api/discussions", json=body, headers=headers)
        assert answer.status_code == status, answer.text


async def test_old_or_altered_legacy_signatures_are_refused(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        now = int(time.time() * 1000)
        for at in (now - 301_000, now + 301_000):
            body = legacy_body(wallet(1), at, content="Late", market_id=market)
            assert (await here.post("/api/discussions", body)).status_code == 401
        body = legacy_body(wallet(1), content="Not mine", market_id=market) | {"wallet": address(2)}
        assert (await here.post("/api/discussions", body)).status_code == 401
    async with site(database_url, redis_url, with_rules=False, auth_legacy_signatures=False) as strict:
        body = legacy_body(wallet(1), content="Hello", market_id=market)
        assert (await strict.post("/api/discussions", body)).status_code == 401


async def test_only_its_own_wallet_changes_a_profile(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        token = await here.sign_in(wallet(1))
        headers = {"authorization": f"Bearer {token}"}

        async def put(who: int, **fields: object) -> int:
            path = f"/api/users/{address(who)}"
            return (await here.http.put(path, json=fields, headers=headers)).status_code

        assert await put(1, display_name="Ada", bio="Trades.", avatar_url="https://x.example/a.png") == 200
        assert await put(2, display_name="Eve") == 403
        assert await put(1, avatar_url="http://x.example/a.png") == 400
        assert await put(1, display_name="x" * 51) == 400
        assert await put(1, bio="") == 200
        profile = (await here.get(f"/api/users/{address(1)}")).json()
        assert (profile["display_name"], profile["bio"]) == ("Ada", "")
        assert (await here.get("/api/users/nobody")).status_code == 404


@pytest.mark.parametrize("path", ["approve", "cancel"])
async def test_operator_calls_need_the_operator_or_the_admins_wallet(
    database_url: str, redis_url: str, path: str
) -> None:
    async with site(database_url, redis_url) as here:
        url = f"/api/markets/{market_id(1)}/{path}"
        assert (await here.post(url)).status_code == 401
        assert (await here.post(url, token="wrong")).status_code == 401
        assert (await here.post(url, token=await here.sign_in(wallet(1)))).status_code == 403
        # A caller that passes the check gets 503, since there is no chain in this test.
        assert (await here.post(url, token=OPERATOR)).status_code == 503
        assert (await here.post(url, token=await here.sign_in(ADMIN))).status_code == 503


async def test_signed_requests_are_refused_and_sessions_go_on_while_redis_is_away(
    database_url: str, redis_url: str
) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        token = await here.sign_in(wallet(1))
    away = "redis://127.0.0.1:9/0"
    async with site(database_url, away, with_rules=False) as here:
        body = {"content": "Hello", "market_id": market}
        assert (await here.post("/api/discussions", body, token)).status_code == 201
        signed = legacy_body(wallet(2), **body)
        assert (await here.post("/api/discussions", signed)).status_code == 503
        assert (await here.post("/api/auth/nonce", {"wallet": address(1)})).status_code == 503
        assert (await here.get("/api/markets")).status_code == 200


async def test_a_sign_out_that_redis_does_not_take_is_503_and_holds_here(
    database_url: str, redis_url: str
) -> None:
    """W15: a sign-out while Redis is unavailable answers 503, and this process accepts the session no more."""
    async with site(database_url, redis_url) as here:
        market, token = await add_market(here.pool, 1), await here.sign_in(wallet(1))
    async with site(database_url, "redis://127.0.0.1:9/0", with_rules=False) as here:
        comment = {"content": "Hello", "market_id": market}
        assert (await here.post("/api/discussions", comment, token)).status_code == 201
        answer = await here.post("/api/auth/logout", token=token)
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert (await here.post("/api/discussions", comment, token)).status_code == 401


async def test_the_nonce_is_gone_after_five_minutes(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        nonce = (await here.post("/api/auth/nonce", {"wallet": address(1)})).json()["nonce"]
        async with redis.asyncio.Redis.from_url(redis_url) as client:
            assert 295 < await client.ttl(f"auth:nonce:{nonce}") <= 300


ENCODINGS = [
    base58.b58encode,
    base64.b64encode,
    base64.urlsafe_b64encode,
    lambda raw: raw.hex().encode(),
    lambda raw: b"0x" + raw.hex().encode(),
]


async def test_every_proof_takes_a_signature_in_any_encoding(database_url: str, redis_url: str) -> None:
    """Every call that takes a wallet's signature takes it as base58, base64, base64url or hex."""
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        for number, encode in enumerate(ENCODINGS):

            def encoded(text: str, number: int = number, encode: Encode = encode) -> str:
                return encode(bytes(wallet(number).sign_message(text.encode()))).decode()

            message = (await here.post("/api/auth/nonce", {"wallet": address(number)})).json()["message"]
            proof = {"wallet": address(number), "message": message, "signature": encoded(message)}
            assert (await here.post("/api/auth/verify", proof)).status_code == 200
            body = legacy_body(wallet(number), content="Hello", market_id=market)
            body["signature"] = encoded(str(body["message"]))
            assert (await here.post("/api/discussions", body)).status_code == 201
            stamp = f"Sign in to ZMART\nTimestamp: {int(time.time() * 1000)}"
            header = f"Signature message={quote(stamp)}&signature={encoded(stamp)}&wallet={address(number)}"
            plain, headers = {"content": "Hi", "market_id": market}, {"authorization": header}
            answer = await here.http.post("/api/discussions", json=plain, headers=headers)
            assert answer.status_code == 201, answer.text
            vote = ballot(here, wallet(number), market)
            vote["signature"] = encoded(str(vote["statement"]))
            assert (await here.post("/api/votes/proposal", vote)).status_code == 201
        stored = await here.pool.fetch("SELECT signature FROM votes")
        assert all(len(base58.b58decode(row["signature"])) == 64 for row in stored)
        assert len(stored) == len(ENCODINGS)


async def test_one_signature_in_two_encodings_serves_one_request(database_url: str, redis_url: str) -> None:
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1)
        first = legacy_body(wallet(1), content="First", market_id=market)
        assert (await here.post("/api/discussions", first)).status_code == 201
        again = first | {"content": "Second", "signature": base58.b58decode(str(first["signature"])).hex()}
        assert (await here.post("/api/discussions", again)).status_code == 401


async def test_a_signature_that_cannot_be_read_is_refused_by_the_encoding_that_it_has(
    database_url: str, redis_url: str
) -> None:
    """A signature of a wrong length is refused with 401, and the message names its encoding and its number of bytes."""
    async with site(database_url, redis_url) as here:
        market = await add_market(here.pool, 1, "PROPOSED")
        signature = base64.b64encode(bytes(63)).decode()
        message = (await here.post("/api/auth/nonce", {"wallet": address(1)})).json()["message"]
        signed = {"wallet": address(1), "message": message, "signature": signature}
        legacy = legacy_body(wallet(1), content="Hello", market_id=market) | {"signature": signature}
        vote = ballot(here, wallet(1), market) | {"signature": signature}
        for path, body in (
            ("/api/auth/verify", signed),
            ("/api/discussions", legacy),
            ("/api/votes/proposal", vote),
        ):
            answer = await here.post(path, body)
            assert answer.status_code == 401, path
            assert "base58, base64 or hex; this one is base64 of 63 bytes" in answer.text, path
            numbers = await here.post(path, body | {"signature": [7] * 64})
            assert "an array of 64 numbers" in numbers.text or numbers.status_code == 401, path
        asked = await here.get(f"/api/transactions/{'ab' * 64}")
        assert (asked.status_code, "this is hex of 64 bytes" in asked.text) == (404, True)
