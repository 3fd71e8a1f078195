"""Choose which variables of the user's environment the programs of the local stack inherit.

Variables that configure Python, libpq, pip, Node.js or npm for other programs are left out. Proxies are inherited:
services may need them for other machines, and never use them for addresses of the loopback.
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
    """Return the environment for a program of the stack: `given`, by default ours, without other programs' variables.

    `with_libpq` keeps libpq's variables (PG...), which may complete a DATABASE_URL that the user has set.
    """
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
    """Return no_proxy and NO_PROXY with the loopback added, for programs that are not ours."""
    named = given.get("no_proxy") or given.get("NO_PROXY") or ""
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(filter(None, [named, _LOOPBACK])))


def _python_path(given: Mapping[str, str]) -> dict[str, str]:
    """Return PYTHONPATH with only the folder from which this package was loaded; nothing if it does not name that."""
    root = Path(zmart.__file__).resolve().parents[1]
    entries = given.get("PYTHONPATH", "").split(os.pathsep)
    is_needed = any(entry and Path(entry).resolve() == root for entry in entries)
    return {"PYTHONPATH": str(root)} if is_needed else {}
