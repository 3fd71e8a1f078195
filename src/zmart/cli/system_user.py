"""Name the user of this process, as stored beside what an operator decided."""

from __future__ import annotations

import getpass
import os


def system_user() -> str:
    """Return the login name, or the user's number where the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # of Python up to 3.12, and from 3.13
        return f"user {os.getuid()}"
