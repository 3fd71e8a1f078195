"""State which release this is: its version, and the commit that it was built from."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import zmart

VERSION = zmart.__version__
UNKNOWN = "unknown"
"""The text for a commit that cannot be determined."""
COMMIT_FILE = "commit.txt"
"""The file in a wheel that holds its commit; requirements/commit_hook.py writes it during the build."""
_GIT_WITHIN_S = 5.0


@cache
def commit() -> str:
    """Return the commit of this code: from the wheel's file, else from git, else "unknown".

    A commit from git ends in "-dirty" if files of the checkout were changed.
    """
    package = Path(zmart.__file__).parent
    try:
        return (package / COMMIT_FILE).read_text("ascii").strip() or UNKNOWN
    except (OSError, ValueError):
        return _commit_of(package.parents[1])


def release() -> str:
    """Return the version with its commit, as `zmart --version` prints it."""
    return f"{VERSION} (commit {commit()})"


def _commit_of(checkout: Path) -> str:
    """Return the commit that git reports for this package's checkout.

    A repository that merely contains the installed package does not count: the result is then "unknown".
    """
    if not (checkout / ".git").exists() or not (checkout / "src" / "zmart" / "version.py").exists():
        return UNKNOWN
    options = ["--no-optional-locks", "-c", f"safe.directory={checkout}", "-C", str(checkout)]
    describe = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603  # fixed words and our own folder
            ["git", *options, *describe],  # noqa: S607  # the user's git, wherever it is
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_WITHIN_S,
            env=surroundings,
        )
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return done.stdout.strip() or UNKNOWN
