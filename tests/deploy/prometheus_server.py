"""A Prometheus of a test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.installed import program
from zmart.local.processes import free_port


@contextmanager
def running_prometheus(folder: Path) -> Iterator[str]:
    """Run Prometheus with the configuration in `folder`, where its data and its log go, too; yield its URL.

    It has been started and need not answer yet.
    """
    binary, port = program("prometheus", "prometheus"), free_port()
    flags = [
        f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([binary, *flags], stdout=log, stderr=log) as server,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
