"""Remove the random names that podman writes into an image: `python3 deploy/reproducible_image.py NAME`.

The configuration of an image in Docker's format, which a health check needs, names the containers that built the image,
and its history names the intermediate images. Without these names, two builds of the same files have the same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

_MANIFEST = "manifest.json"
_RANDOM = ("container", "container_config", "parent")


def without_random_names(config: dict[str, Any]) -> dict[str, Any]:
    """Return an image's configuration without the names of its build's containers and intermediate images."""
    kept = {name: value for name, value in config.items() if name not in _RANDOM}
    kept["config"] = {**config["config"], "Hostname": ""}
    kept["history"] = [
        {name: value for name, value in step.items() if name != "comment"} for step in config["history"]
    ]
    return kept


def rewrite(archive: Path, target: Path) -> None:
    """Copy the archive of one image, with a configuration without random names.

    Raises KeyError if the archive is not one of podman's format `docker-archive`.
    """
    with tarfile.open(archive) as source, tarfile.open(target, "w") as result:
        [image] = json.loads(_content(source, _MANIFEST))
        config = json.dumps(
            without_random_names(json.loads(_content(source, image["Config"]))), sort_keys=True
        )
        name = f"{hashlib.sha256(config.encode()).hexdigest()}.json"
        for layer in dict.fromkeys(image["Layers"]):
            member = source.getmember(layer)
            result.addfile(member, source.extractfile(member) if member.isfile() else None)
        _add(result, name, config)
        _add(result, _MANIFEST, json.dumps([{**image, "Config": name}]))


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text.encode())
    archive.addfile(member, io.BytesIO(text.encode()))


def main(name: str) -> None:
    """Replace the image of this name in podman's storage by its copy without random names."""
    with tempfile.TemporaryDirectory() as folder:
        archive, target = Path(folder) / "image.tar", Path(folder) / "reproducible.tar"
        _podman("save", "--format", "docker-archive", "-o", archive, name)
        rewrite(archive, target)
        _podman("load", "-i", target)


def _podman(command: str, *arguments: str | Path) -> None:
    subprocess.run(["podman", command, "-q", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
