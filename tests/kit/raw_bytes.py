"""Draw malformed input at random: HTTP requests, webhook deliveries and WebSocket frames that no client should send."""

from __future__ import annotations

import json
from random import Random

from kit.sockets import frame

METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT",
           b"TRACE", b"PRI", b"QUERY", b"get", b"", b"\xff")  # fmt: skip
MARKET = b"ab" * 32
PATHS = (
    b"/health", b"/ready", b"/metrics", b"/dashboard", b"/", b"*", b"/nowhere", b"/api/status", b"/api/markets",
    b"/api/markets/" + MARKET, b"/api/markets/" + MARKET + b"/candles", b"/api/markets/" + MARKET + b"/trades",
    b"/api/search", b"/api/events/latest", b"/api/users/" + b"1" * 32 + b"/positions", b"/api/auth/nonce",
    b"/api/auth/verify", b"/api/auth/logout", b"/api/discussions", b"/api/votes/proposal", b"/api/trades/buy",
    b"/api/transactions", b"/api/webhooks/helius", b"/api/snapshots/run", b"/api/stats", b"/openapi.json",
    b"/asyncapi.json", b"/markets/" + MARKET, b"/ipfs/Qm" + b"a" * 44, b"/v3/files/public", b"/v0/webhooks",
    b"/pinning/pinFileToIPFS", b"/data/pinList", b"http://other/health", b"//health", b"/%2e%2e/%00", b"/\xc3\xa9",
)  # fmt: skip
WORDS = (
    b"", b"0", b"1", b"-1", b"1e9", b"9" * 20, b"9" * 5_000, b"%00", b"%ff", b"%", b"%u0000", b"\xff", b"null", b"true",
    b"[]", b"{}", b'"', b"'; --", b"../..", b"a" * 300, b"\xe2\x80\xae", b"2026-01-01", b"0001-01-01", b"9999-12-31",
    b"close", b"keep-alive, Upgrade", b"chunked", b"gzip", b"100-continue", b"bytes=0-", b"*", b"W/\"x\"",
    b"websocket", b"h2c", b"Bearer x", b"Bearer " + b"e" * 200, b"Basic Og==", b"identity",
    b"Signature message=a&signature=b&wallet=c", b"application/json", b"text/plain", b"multipart/form-data; boundary=x",
    b"1.2.3.4, ::1", b"[::1]:5", b"\t", b";",
)  # fmt: skip
HEADERS = (
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Expect", b"Content-Type", b"Accept",
    b"Accept-Encoding", b"Authorization", b"Cookie", b"Origin", b"Range", b"If-None-Match", b"If-Modified-Since",
    b"X-Forwarded-For", b"X-Request-Id", b"X-Helius-Signature", b"Access-Control-Request-Method", b"Content-Encoding",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Trailer", b"X-\xff", b"", b"HX-Request",
)  # fmt: skip
PARAMETERS = (b"limit", b"offset", b"cursor", b"state", b"category", b"q", b"sort", b"numeric", b"interval", b"start",
              b"end", b"since", b"types", b"market_id", b"format", b"cid", b"pageLimit", b"pageToken",
              b"api-key")  # fmt: skip


def http_request(draw: Random) -> bytes:
    """Draw an HTTP request, which may be malformed."""
    body = draw.choice((b"", b"", json_text(draw), draw.randbytes(draw.randrange(40))))
    lines = [
        b" ".join(
            (
                draw.choice(METHODS),
                _target(draw),
                draw.choice((b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/2.0", b"X")),
            )
        )
    ]
    lines += [b": ".join((draw.choice(HEADERS), draw.choice(WORDS))) for _ in range(draw.randrange(6))]
    if body and draw.random() < 0.7:
        lines += [b"Content-Type: application/json"] * (draw.random() < 0.8)
        if draw.random() < 0.3:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, draw.choice((b"", b"X-Trailer: y\r\n")))
        else:
            lines.append(b"Content-Length: %d" % len(body))
    return mutated(draw, b"\r\n".join(lines) + b"\r\n\r\n" + body)


def delivery(draw: Random, good: bytes) -> bytes:
    """Draw a POST to the webhook, with a body that may be malformed; `good` is an element as Helius sends it."""
    elements = [draw.choice((good, mutated(draw, good), json_text(draw))) for _ in range(draw.randrange(4))]
    body = draw.choice((b"[" + b",".join(elements) + b"]", b"".join(elements), mutated(draw, good)))
    head = (
        b"POST /api/webhooks/helius HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body


def frames(draw: Random) -> bytes:
    """Draw one to five WebSocket frames of a client, which may be malformed."""
    return b"".join(_frame(draw) for _ in range(1 + draw.randrange(5)))


def json_text(draw: Random, depth: int = 0) -> bytes:
    """Draw a JSON text, which may be slightly invalid."""
    kind = draw.randrange(9)
    if kind == 0 and depth < 4:
        return b"[" + b",".join(json_text(draw, depth + 1) for _ in range(draw.randrange(4))) + b"]"
    if kind in (1, 2, 3) and depth < 4:
        names = draw.sample(_NAMES, draw.randrange(4))
        return b"{" + b",".join(b'"%b":%b' % (name, json_text(draw, depth + 1)) for name in names) + b"}"
    if kind == 4:
        return b"[" * draw.choice((10, 300, 3_000)) + b"]" * draw.choice((10, 300, 3_000))
    if kind == 5:
        return draw.choice(
            (b"1e999", b"-0", b"9" * 400, b"NaN", b"1.5", b"18446744073709551616", b"-1", b"0")
        )
    if kind == 6:
        return draw.choice((b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"\xe2\x80\xae"', b'"\\"', b'""'))
    return json.dumps(draw.choice(_TEXTS)).encode()


_NAMES = (b"action", b"channel", b"market_id", b"offset", b"epoch", b"wallet", b"message", b"signature", b"content",
          b"vote", b"shares", b"max_cost", b"outcome", b"transaction", b"meta", b"slot", b"signatures", b"question",
          b"end_date", b"tags", b"b_parameter", b"webhookURL", b"", b"\xc3\xa9")  # fmt: skip
_TEXTS = ("subscribe", "unsubscribe", "ping", "markets", "trades:" + "ab" * 32, "ab" * 32, "1" * 32, "x" * 200, True,
          None, "\0" * 32, "2100-01-01T00:00:00Z", 5, "5", "\u202e", "\u200b" * 12)  # fmt: skip


def mutated(draw: Random, data: bytes) -> bytes:
    """Return the data with a few bytes changed, removed, doubled or added; in three of seven cases unchanged."""
    changed = bytearray(data)
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 5))):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(5):
            case 0:
                changed[at : at + 1] = draw.randbytes(1)
            case 1:
                del changed[at : at + draw.choice((1, 3, 20))]
            case 2:
                changed[at:at] = changed[at : at + 30]
            case 3:
                changed[at:at] = draw.choice((b"\0", b"\r\n", b"\n", b" ", b"\xff\xfe", b":", b'"'))
            case _:
                del changed[at:]
    return bytes(changed)


def _target(draw: Random) -> bytes:
    path = draw.choice(PATHS)
    if draw.random() < 0.5:
        return path
    pairs = (b"=".join((draw.choice(PARAMETERS), draw.choice(WORDS))) for _ in range(1 + draw.randrange(3)))
    return path + b"?" + b"&".join(pairs).replace(b" ", b"+")


def _frame(draw: Random) -> bytes:
    message = draw.choice((_request(draw), json_text(draw), draw.randbytes(draw.randrange(200))))
    first = draw.choice((0x81,) * 8 + (0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8A, draw.randrange(256)))
    sent = frame(first, message if first & 0x08 == 0 else message[: draw.choice((0, 1, 2, 20, 125, 126))])
    return mutated(draw, sent) if draw.random() < 0.3 else sent


def _request(draw: Random) -> bytes:
    fields = {
        name: draw.choice(_TEXTS)
        for name in ("action", "channel", "market_id", "epoch")
        if draw.random() < 0.7
    }
    if draw.random() < 0.5:
        fields["offset"] = draw.choice((0, -1, 2**63, 2**64, 1.5, "1", None))
    return mutated(draw, json.dumps(fields).encode())
