"""Find the name of the user who runs a command; it is stored with the decisions of an operator."""

from __future__ import annotations

import getpass
import os


def system_user() -> str:
    """Return the user's login name, or "user <number>" if the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError in Python up to 3.12, OSError since 3.13
        return f"user {os.getuid()}"
