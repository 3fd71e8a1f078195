"""Bind the socket that a service's HTTP server listens on."""

from __future__ import annotations

import socket
from errno import EACCES, EADDRINUSE

from zmart.errors import ConfigError, SettingError
from zmart.services.workers.slot import worker_slot
from zmart.settings import Settings


def bind_service(settings: Settings, port_setting: str, *, shared: bool | None = None) -> socket.socket:
    """Return a socket that is bound to a service's port. Raises ConfigError if the port cannot be used.

    `port_setting` names the setting that holds the port. `shared`: other processes may bind the port, too; by default
    that is so for workers.
    """
    port: int = getattr(settings, port_setting)
    is_shared = worker_slot() is not None if shared is None else shared
    try:
        return bind_listener(settings.bind_host, port, shared=is_shared)
    except OSError as problem:
        raise listen_error(settings.bind_host, port, port_setting.upper(), problem) from None


def bind_listener(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket that is bound to a port (0: a free port). Raises OSError.

    `shared`: other sockets of this user may be bound to the port, too, and the kernel distributes connections to them.
    The socket names TCP as its protocol, because only then asyncio sets TCP_NODELAY. Without that, the second write of
    each response waits some 40 ms for the client's acknowledgement of the first.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def listen_error(host: str, port: int, setting: str, problem: OSError) -> ConfigError:
    """Return the error for a port that cannot be bound, which says what to do; `setting` is the port's setting."""
    what = f"Port {port} on {host} cannot be used ({problem.strerror})"
    if problem.errno in (EADDRINUSE, EACCES):
        return ConfigError(f"{what}: stop what listens there or set {setting} to a free one.")
    return SettingError(f"{what}: BIND_HOST must be an address of this machine, like 127.0.0.1 or 0.0.0.0.")
