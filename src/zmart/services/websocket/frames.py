"""Encode WebSocket frames of a server (RFC 6455 section 5.2): unmasked, so one frame serves every subscriber."""

from __future__ import annotations

from enum import IntEnum

_FIN = 0x80
_CONTROL_PAYLOAD_MAX = 125


class Opcode(IntEnum):
    """The opcodes of the frames that this server sends."""

    TEXT = 0x1
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The close codes that this server sends by itself (RFC 6455 section 7.4; 4008 is our own).

    The library that reads frames also sends others, such as 1002 and 1009.
    """

    GOING_AWAY = 1001
    INVALID_TEXT = 1007
    POLICY = 1008
    INTERNAL = 1011
    RESTART = 1012
    TOO_SLOW = 4008


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """Encode an unfragmented frame."""
    length = len(payload)
    if length < 126:
        return bytes((_FIN | opcode, length)) + payload
    if length < 65_536:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big") + payload


def text(payload: bytes) -> bytes:
    """Encode a text frame of UTF-8 bytes."""
    return frame(Opcode.TEXT, payload)


def close(code: CloseCode, reason: str) -> bytes:
    """Encode a close frame; code and reason together are truncated to 125 bytes, the most of a control frame."""
    return frame(Opcode.CLOSE, (code.to_bytes(2, "big") + reason.encode())[:_CONTROL_PAYLOAD_MAX])


def is_close(frame_bytes: bytes) -> bool:
    """Return whether an encoded frame is a close frame."""
    return frame_bytes[0] == _FIN | Opcode.CLOSE
