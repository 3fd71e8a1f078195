"""W19, P16: the error of a port or an address that cannot be listened on names the setting and the reason."""

from __future__ import annotations

import errno
import socket

import pytest

from zmart.cli.errors import exit_status
from zmart.services.listener import bind_listener, listen_error


@pytest.mark.parametrize(
    ("host", "advice", "status"),
    [
        ("127.0.0.1", "set API_PORT to a free one", 1),
        ("203.0.113.1", "BIND_HOST must be an address of this machine", 2),
        ("nowhere.invalid", "BIND_HOST must be an address of this machine", 2),
    ],
)
def test_the_setting_that_helps_is_named(host: str, advice: str, status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError) as refused:
            bind_listener(host, port)
        problem = listen_error(host, port, "API_PORT", refused.value)
    assert (advice in str(problem), exit_status(problem)) == (True, status)


def test_a_port_that_needs_root_is_said_of_the_port() -> None:
    problem = listen_error("127.0.0.1", 80, "WS_PORT", OSError(errno.EACCES, "Permission denied"))
    assert "set WS_PORT to a free one" in str(problem)
