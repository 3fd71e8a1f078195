"""Authenticate requests: a bearer JWT, or Pinata's pair of key headers (docs.pinata.cloud, "API Keys")."""

from __future__ import annotations

import hmac

from zmart.bearer import bearer_token
from zmart.local.providers.http import HttpRequest
from zmart.settings import Settings


class PinataCredentials:
    """Check requests against PINATA_JWT, PINATA_API_KEY and PINATA_SECRET_KEY. An empty setting matches no request."""

    def __init__(self, settings: Settings) -> None:
        self._jwt = settings.pinata_jwt.get_secret_value()
        self._key = settings.pinata_api_key.get_secret_value()
        self._secret = settings.pinata_secret_key.get_secret_value()

    def allow(self, request: HttpRequest) -> bool:
        """Return whether the request has valid credentials."""
        token = bearer_token(request.headers.get("authorization", ""))
        if token is not None:
            return _same(token, self._jwt)
        key, secret = (request.headers.get(name, "") for name in ("pinata_api_key", "pinata_secret_api_key"))
        return _same(key, self._key) and _same(secret, self._secret)


def _same(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
