"""Check that the extra `zmart[local]` is installed, whose packages the modules of `local` import."""

from __future__ import annotations

from importlib.util import find_spec

from zmart.errors import ConfigError

# The extra counts as installed if these two packages of it are. Some of its wheels contain only programs (PostgreSQL,
# Valkey, Node.js), which may also be installed otherwise: the module that needs a program checks for it.
IMPORTED = ("psutil", "supervisor")
INSTALL = "pip install 'zmart[local]'"
MISSING = f"The local stack and the demo are not part of this installation: run `{INSTALL}` to add them."


def is_installed() -> bool:
    """Return whether this installation can run the local stack."""
    return all(find_spec(name) is not None for name in IMPORTED)


def require_extra() -> None:
    """Raise ConfigError, which says what to install, if the extra is missing."""
    if not is_installed():
        raise ConfigError(MISSING)
