"""The local pin store in this process, without a socket, and an authorized client of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from zmart.local.providers.process import Providers
from zmart.settings import Settings

JWT = "a-jwt"
KEYS = {"pinata_api_key": "a-key", "pinata_secret_api_key": "a-secret"}
CHUNK = 256 * 1024


def settings_of(home: Path, **given: object) -> Settings:
    return Settings(
        _env_file=None,
        zmart_env="local",
        zmart_home=home,
        pinata_jwt=JWT,
        pinata_api_key=KEYS["pinata_api_key"],
        pinata_secret_key=KEYS["pinata_secret_api_key"],
        **given,
    )


class Client:
    """A client of the pin store; each method sends one request of Pinata's API or of an IPFS gateway."""

    def __init__(self, http: httpx.AsyncClient, providers: Providers) -> None:
        self.http = http
        self.executor = providers._pins
        self.store = self.executor.store

    async def pin(self, data: bytes, version: int = 1, **metadata: object) -> dict:
        answer = await self.http.post(
            "/pinning/pinFileToIPFS",
            files={"file": ("a file", data)},
            data={
                "pinataOptions": json.dumps({"cidVersion": version}),
                "pinataMetadata": json.dumps(metadata),
            },
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def upload(self, data: bytes, **fields: str) -> dict:
        answer = await self.http.post("/v3/files", files={"file": ("a file", data)}, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def unpin(self, cid: str) -> httpx.Response:
        return await self.http.delete(f"/pinning/unpin/{cid}")

    async def listed(self, **query: str | int) -> dict:
        answer = await self.http.get("/data/pinList", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, cid: str, **headers: str) -> httpx.Response:
        return await self.http.get(f"/ipfs/{cid}", headers=headers)


@asynccontextmanager
async def pin_store(home: Path) -> AsyncIterator[Client]:
    """Open the pin store of `home` within the block and yield a client; a later store on the same home has the pins."""
    providers = Providers(settings_of(home))
    transport = httpx.ASGITransport(app=providers.asgi())
    headers = {"authorization": f"Bearer {JWT}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://pins", headers=headers) as http:
        try:
            yield Client(http, providers)
        finally:
            await providers._pins.close()


def content(size: int, seed: str = "content") -> bytes:
    """Return `size` pseudo-random bytes that depend on `seed` only, so that no two chunks are equal."""
    return hashlib.shake_256(seed.encode()).digest(size)


def block_files(home: Path, network: str = "public") -> set[str]:
    return {path.name for path in (home / "pins" / "blocks" / network).glob("*/*")}
