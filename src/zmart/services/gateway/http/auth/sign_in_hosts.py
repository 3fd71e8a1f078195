"""Choose the domain of a sign-in message. It must be the host of the page that requests the signature, else wallets
warn or refuse to sign.

The message protects its signer only if it names hosts of this deployment: those of AUTH_DOMAIN, PUBLIC_API_URL and
CORS_ORIGIN, and in the local stack loopback hosts.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from zmart.errors import Invalid
from zmart.setting_values import is_loopback, origin_of, origins
from zmart.settings import Settings

_DEFAULT_PORTS = (":80", ":443")
_LISTS = "AUTH_DOMAIN, PUBLIC_API_URL and CORS_ORIGIN list the hosts that users may sign in for"


class SignInHosts:
    """The hosts for which users may sign in, each with the URI of its page."""

    def __init__(self, settings: Settings) -> None:
        named = [
            *([_uri_of_domain(settings.auth_domain)] if settings.auth_domain else []),
            *([settings.public_api_url] if settings.public_api_url else []),
        ]
        pages = [*named, *origins(settings.cors_origin or settings.cors_origins)]
        self._uris = {_host(urlsplit(uri).netloc): uri for uri in reversed(pages)}
        self._usual = named[0] if named else None
        self._allows_loopback = settings.is_local

    def uri_of(self, origin: str | None, host: str) -> str:
        """Return the URI of the page that sends a request: by the header `Origin` if a browser sent it, else by the
        header `Host`.

        A loopback `Host` may have been written by a proxy in front of the gateway. If it is not listed, the URI is that
        of AUTH_DOMAIN or else PUBLIC_API_URL, and the host itself if both are empty. Raises Invalid for a host that is
        not listed.
        """
        if origin is not None and origin != "null":
            return self._of_origin(origin)
        if is_loopback(host):
            return self._uris.get(_host(host)) or self._usual or f"http://{_host(host)}"
        if (uri := self._uris.get(_host(host))) is None:
            raise _unlisted("Host", host)
        return uri

    def __contains__(self, host: str) -> bool:
        return _host(host) in self._uris or (
            is_loopback(host) and (self._allows_loopback or self._usual is None)
        )

    def _of_origin(self, origin: str) -> str:
        try:
            uri = origin_of(origin)
        except ValueError:
            raise _unlisted("Origin", origin) from None
        host = urlsplit(uri).netloc
        if self._allows_loopback and is_loopback(host):
            return uri
        if _host(host) not in self._uris:
            raise _unlisted("Origin", origin)
        return self._uris[_host(host)]


def _host(netloc: str) -> str:
    text = netloc.lower()
    return next((text.removesuffix(port) for port in _DEFAULT_PORTS if text.endswith(port)), text)


def _uri_of_domain(domain: str) -> str:
    return f"{'http' if is_loopback(domain) else 'https'}://{domain.lower()}"


def _unlisted(header: str, value: str) -> Invalid:
    return Invalid(header, f"This backend does not sign users in for {value[:100]!r}: {_LISTS}.")
