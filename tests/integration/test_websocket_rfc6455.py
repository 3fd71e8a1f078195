"""Tests of RFC 6455 on the wire, in the order of the Autobahn suite's sections 1 to 7, without compression.

The server echoes nothing, so its answer to a text shows that it has read the text whole. Each case is sent whole, in
pieces of 997 bytes, and in single bytes if it is short.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.frames import Frame, Opcode

from kit.sockets import frame, opened, serving
from zmart.settings import load_settings

TEXT, BINARY, CONT, CLOSE, PING, PONG, FIN = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA, 0x80
WHOLE = FIN | TEXT
UNKNOWN, INVALID = "unknown_action", "invalid_message"
ONE_BY_ONE_UP_TO = 200

Case = tuple[bytes, list[object]]
"""The bytes to send, and the expected results: codes of errors, payloads of pongs, and last the close frame's code."""


def message(size: int) -> bytes:
    """Return a text message of `size` bytes that is answered by `unknown_action`."""
    return b'{"action":"x","y":"' + b"*" * (size - 21) + b'"}'


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def in_parts(payload: bytes, at: list[int], kind: int = TEXT) -> bytes:
    """Return a message in fragments that begin at the offsets `at`."""
    parts = [payload[begin:end] for begin, end in zip([0, *at], [*at, len(payload)], strict=True)]
    codes = [kind] + [CONT] * (len(parts) - 1)
    codes[-1] |= FIN
    return b"".join(frame(code, part) for code, part in zip(codes, parts, strict=True))


def section_1() -> dict[str, Case]:
    sizes = (125, 126, 127, 128, 4_096, 65_535, 65_536)
    cases: dict[str, Case] = {"1 empty text": (frame(WHOLE, b"") + closing(), [INVALID, 1000])}
    for size in sizes:
        cases[f"1 text of {size}"] = (frame(WHOLE, message(size)) + closing(), [UNKNOWN, 1000])
        cases[f"1 binary of {size}"] = (frame(FIN | BINARY, message(size)) + closing(), [UNKNOWN, 1000])
    cases["1 text above our limit"] = (frame(WHOLE, message(65_537)), ["frame_too_large", 1008])
    return cases


def section_2() -> dict[str, Case]:
    payloads = (b"", b"Hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125)
    cases: dict[str, Case] = {
        f"2 ping of {payload[:5]!r} {len(payload)}": (
            frame(FIN | PING, payload) + closing(),
            [payload, 1000],
        )
        for payload in payloads
    }
    ten = [b"ping-%d" % number for number in range(10)]
    cases |= {
        "2 ping of 126": (frame(FIN | PING, b"x" * 126), [1002]),
        "2 a pong that nobody asked for": (frame(FIN | PONG, b"x") + closing(), [1000]),
        "2 a pong, then a ping": (
            frame(FIN | PONG, b"x") + frame(FIN | PING, b"y") + closing(),
            [b"y", 1000],
        ),
        "2 ten pings": (b"".join(frame(FIN | PING, one) for one in ten) + closing(), [*ten, 1000]),
    }
    return cases


def section_3_and_4() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for bits in range(1, 8):
        for kind in (TEXT, PING, CLOSE):
            cases[f"3 reserved bits {bits} of {kind}"] = (frame(FIN | bits << 4 | kind, b""), [1002])
        sent = frame(WHOLE, message(30)) + frame(FIN | bits << 4 | TEXT, b"")
        cases[f"3 reserved bits {bits} after a message"] = (sent, [UNKNOWN, 1002])
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases[f"4 opcode {opcode}"] = (frame(FIN | opcode, b""), [1002])
        cases[f"4 opcode {opcode} with a payload"] = (frame(FIN | opcode, b"reserved"), [1002])
    return cases


def section_5() -> dict[str, Case]:
    text, ping = message(40), frame(FIN | PING, b"between")
    first, rest = frame(TEXT, text[:10]), frame(FIN | CONT, text[10:])
    return {
        "5 ping in fragments": (frame(PING, b"a") + frame(FIN | CONT, b"b"), [1002]),
        "5 pong in fragments": (frame(PONG, b"a") + frame(FIN | CONT, b"b"), [1002]),
        "5 close in fragments": (frame(CLOSE, b"\x03\xe8"), [1002]),
        "5 two fragments": (first + rest + closing(), [UNKNOWN, 1000]),
        "5 a ping between two fragments": (first + ping + rest + closing(), [b"between", UNKNOWN, 1000]),
        "5 empty fragments": (
            frame(TEXT, b"") + frame(CONT, b"") + frame(FIN | CONT, b"") + closing(),
            [INVALID, 1000],
        ),
        "5 fragments of one byte": (
            in_parts(b'{"action":1}', list(range(1, 12))) + closing(),
            [INVALID, 1000],
        ),
        "5 binary fragments": (in_parts(text, [5, 9], BINARY) + closing(), [UNKNOWN, 1000]),
        "5 a continuation of nothing": (frame(FIN | CONT, b"x"), [1002]),
        "5 an open continuation of nothing": (frame(CONT, b"x") + frame(FIN | CONT, b"y"), [1002]),
        "5 a continuation behind a message": (frame(WHOLE, text) + frame(FIN | CONT, b"x"), [UNKNOWN, 1002]),
        "5 a message within a message": (first + frame(WHOLE, text), [1002]),
        "5 a close within a message": (first + closing(), [1000]),
        "5 fragments above our limit": (in_parts(message(66_000), [33_000]), ["frame_too_large", 1008]),
    }


VALID = (
    "κόσμε",
    "\x7f",
    "\u0080",
    "߿",
    "ࠀ",
    "\uffff",
    "𐀀",
    "\U0010ffff",
    "\ud7ff",
    "\ue000",
    "�",
    "\U0001fffe",
)
_INVALID_UTF8 = """
80 bf 80bf c0 c080 c1bf c2 e08080 e0a0 eda080 edbfbf f0808080 f09080 f4908080 f5808080 f888808080 fc8480808080 fe ff
fefeffff cebae1bdb9cf83cebcceb5eda080
"""
INVALID_UTF8 = [bytes.fromhex(digits) for digits in _INVALID_UTF8.split()]


def section_6() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for character in VALID:
        text = json.dumps({"action": character}, ensure_ascii=False).encode()
        middle = len(b'{"action": "') + 1
        cases[f"6 {character!a}"] = (frame(WHOLE, text) + closing(), [UNKNOWN, 1000])
        cases[f"6 {character!a} in parts"] = (
            in_parts(text, [middle, middle + 1]) + closing(),
            [UNKNOWN, 1000],
        )
    for wrong in INVALID_UTF8:
        cases[f"6 {wrong!r}"] = (frame(WHOLE, wrong), [1007])
        cases[f"6 {wrong!r} in parts"] = (in_parts(b"x" + wrong, [1]), [1007])
        cases[f"6 {wrong!r} as binary"] = (frame(FIN | BINARY, wrong) + closing(), [INVALID, 1000])
    return cases


def section_7() -> dict[str, Case]:
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    wrong = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    cases: dict[str, Case] = {f"7 code {code}": (closing(code), [code]) for code in valid}
    cases |= {f"7 code {code}": (closing(code), [1002]) for code in wrong}
    cases |= {
        "7 no code": (closing(None), [None]),
        "7 half a code": (frame(FIN | CLOSE, b"\x03"), [1002]),
        "7 two closes": (closing() + closing(1001), [1000]),
        "7 a message behind the close": (closing() + frame(WHOLE, message(30)), [1000]),
        "7 a ping behind the close": (closing() + frame(FIN | PING, b"x"), [1000]),
        "7 a reason": (closing(1000, b"Hello"), [1000]),
        "7 the longest reason": (closing(1000, b"*" * 123), [1000]),
        "7 a reason that is too long": (closing(1000, b"*" * 124), [1002]),
        "7 a reason that is no UTF-8": (closing(1000, b"\xce\xba\xed\xa0\x80"), [1007]),
    }
    return cases


CASES = section_1() | section_2() | section_3_and_4() | section_5() | section_6() | section_7()


def pieces(sent: bytes) -> list[list[bytes]]:
    """Return the ways to send these bytes, each a list of pieces."""
    ways = [[sent], [sent[at : at + 997] for at in range(0, len(sent), 997)]]
    if len(sent) <= ONE_BY_ONE_UP_TO:
        ways.append([bytes([byte]) for byte in sent])
    return ways


def summary(frames: list[Frame]) -> list[object]:
    """Return the results after the welcome: codes of errors, payloads of pongs, and the close frame's code."""
    result: list[object] = []
    for received in frames[1:]:
        if received.opcode is Opcode.TEXT:
            result.append(json.loads(received.data)["data"]["code"])
        elif received.opcode is Opcode.CLOSE:
            result.append(int.from_bytes(received.data[:2], "big") if received.data else None)
        else:
            assert received.opcode is Opcode.PONG
            result.append(bytes(received.data))
    return result


@pytest.mark.parametrize("section", "1234567")
async def test_a_client_gets_what_rfc_6455_says(database_url: str, redis_url: str, section: str) -> None:
    settings = load_settings(zmart_env="local", database_url=database_url, redis_url=redis_url, ws_port=0)
    cases = [(name, *case) for name, case in CASES.items() if name[0] == section]
    async with serving(settings) as service:

        async def run(name: str, parts: list[bytes], expected: list[object]) -> None:
            async with opened(service.port) as client:
                for part in parts:
                    client.writer.write(part)
                    if len(parts) > 1:
                        await asyncio.sleep(0)  # the parts leave one by one, as far as the kernel lets them
                assert summary(await client.frames()) == expected, (name, len(parts))

        for name, sent, expected in cases:
            await asyncio.gather(*(run(name, parts, expected) for parts in pieces(sent)))
