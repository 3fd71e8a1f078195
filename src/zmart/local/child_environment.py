"""Choose what of the user's environment the programs of the local stack inherit.

What configures Python, libpq, pip, Node.js or npm for other purposes stays out. Proxies are inherited: services may
need them for other machines, and never use them on the loopback.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import zmart

_LOOPBACK = "localhost,127.0.0.1,::1"
_LIBPQ = re.compile(r"PG[A-Z]+")
_FOR_OTHERS = re.compile(r"PYTHON[A-Z0-9]+|PIP_\w+|NODE_(?!BIN$|EXTRA_CA_CERTS$)\w+|BASH_ENV|LD_PRELOAD")
_NPM = re.compile(
    r"npm_config_(?!registry|ca|cafile|cert|key|proxy|https_?proxy|no_?proxy|cache|strict_ssl|_).*", re.I
)


def inherited(*, with_libpq: bool = False, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without what is meant for other programs; `with_libpq` keeps PG*, which may belong to a
    DATABASE_URL of the user."""
    given = os.environ if given is None else given
    ours = {
        name: value
        for name, value in given.items()
        if not (
            _FOR_OTHERS.fullmatch(name) or _NPM.fullmatch(name) or (_LIBPQ.fullmatch(name) and not with_libpq)
        )
    }
    return {**ours, **_python_path(given), **_no_proxy(given), "PYTHONSAFEPATH": "1"}


def _no_proxy(given: Mapping[str, str]) -> dict[str, str]:
    """Keep proxies off the loopback for programs that we did not write."""
    named = given.get("no_proxy") or given.get("NO_PROXY") or ""
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, [named, _LOOPBACK])))


def _python_path(given: Mapping[str, str]) -> dict[str, str]:
    """Keep of PYTHONPATH only the folder from which this package itself was loaded."""
    root = Path(zmart.__file__).resolve().parents[1]
    entries = given.get("PYTHONPATH", "").split(os.pathsep)
    is_needed = any(entry and Path(entry).resolve() == root for entry in entries)
    return {"PYTHONPATH": str(root)} if is_needed else {}
