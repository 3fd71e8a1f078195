"""Containers for `make deploy-test`. What is built stays in .zmart/containers for the next run."""

from __future__ import annotations

import pytest

from kit.containers import MISSING, ROOT, Podman, missing_programs
from kit.installed import missing

IMAGE = "localhost/zmart:test"
TRIAL_IMAGE = "localhost/zmart-trial:test"


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Podman with the base image."""
    if missing_programs():
        missing(f"{MISSING} (not found: {', '.join(missing_programs())})")
    podman = Podman(ROOT / ".zmart" / "containers")
    podman.import_debian()
    return podman


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    """The name of the image of the services, as this checkout builds it."""
    podman.make_image("image", IMAGE=IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def trial_image(podman: Podman, image: str) -> str:
    """The name of the image with a chain and the demo."""
    podman.make_image("trial-image", IMAGE=image, TRIAL_IMAGE=TRIAL_IMAGE)
    return TRIAL_IMAGE
