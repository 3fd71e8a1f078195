"""Images for `make deploy-test`. Images that were built are kept in .zmart/containers for the next run."""

from __future__ import annotations

import pytest

from kit.containers import MISSING, ROOT, Podman, missing_programs
from kit.installed import missing

IMAGE = "localhost/zmart:test"
TRIAL_IMAGE = "localhost/zmart-trial:test"


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Return podman with the base image; fails on CI, and skips elsewhere, when programs are missing."""
    if missing_programs():
        missing(f"{MISSING} (not found: {', '.join(missing_programs())})")
    podman = Podman(ROOT / ".zmart" / "containers")
    podman.import_debian()
    return podman


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    """Build the services' image from this checkout; return its name."""
    podman.make_image("image", IMAGE=IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def trial_image(podman: Podman, image: str) -> str:
    """Build the trial's image, with a chain and the demo; return its name."""
    podman.make_image("trial-image", IMAGE=image, TRIAL_IMAGE=TRIAL_IMAGE)
    return TRIAL_IMAGE
