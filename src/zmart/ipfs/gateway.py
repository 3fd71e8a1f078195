"""Read a file from an IPFS gateway and check it against its CID, so that the gateway need not be trusted."""

from __future__ import annotations

import asyncio

import httpx

from zmart.ipfs.cid import FileCheck
from zmart.ipfs.pinning import PinError
from zmart.loopback import client_options

FETCH_MAX_BYTES = 16 * 1024 * 1024
WITHIN_S = 60.0
_TIMEOUT_S = 30.0
"""The limit of one read in seconds: a gateway may search for a file for a long time before it sends the first byte."""


async def fetch_from_gateway(
    gateway_url: str, cid: str, *, max_bytes: int = FETCH_MAX_BYTES, within_s: float = WITHIN_S
) -> bytes:
    """Return the bytes of the file `cid` from an IPFS gateway, checked against the CID.

    Raises Invalid for an invalid CID. Raises PinError if the gateway is unavailable, takes longer than `within_s`
    seconds in all, sends another file, or sends more than `max_bytes` bytes.
    """
    check = FileCheck(cid)
    url = f"{gateway_url.rstrip('/')}/ipfs/{cid}"
    data = bytearray()
    try:
        async with (
            asyncio.timeout(within_s),
            httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True, **client_options(url)) as http,
            http.stream("GET", url) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise PinError(f"The gateway answered {answer.status_code} for {cid}.")
            async for piece in answer.aiter_bytes():
                data += piece
                if len(data) > max_bytes:
                    raise PinError(f"{cid} is larger than {max_bytes} bytes.")
                check.write(piece)
    except TimeoutError:
        raise PinError(f"The gateway did not send {cid} within {within_s:g} s.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise PinError(
            f"The gateway does not answer ({type(problem).__name__}): check IPFS_GATEWAY_URL."
        ) from problem
    if not check.holds():
        raise PinError(f"The gateway sent bytes that are not {cid}.")
    return bytes(data)
