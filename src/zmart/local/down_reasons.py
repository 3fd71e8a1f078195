"""Say why a process of the stack does not run. `zmart ps` and `zmart doctor` do so in the same words."""

from __future__ import annotations

from zmart.local.log_files import why_unwritable
from zmart.local.processes import last_line
from zmart.local.readiness import readable
from zmart.local.supervision import ProcessInfo, Supervisor

_SEE_LOG = "process log"
"""Part of supervisord's sentence about a process that ended too soon: the log says more."""


def why_down(supervisor: Supervisor, info: ProcessInfo) -> str:
    """Return the reason why a process does not run: that it cannot be started, that its log cannot be written (so that
    the log's last line is an old one), or its last line."""
    log = supervisor.logs / f"{info.name}.log"
    unwritable = why_unwritable(log)
    if info.spawnerr and _SEE_LOG not in info.spawnerr:
        return f"It cannot be started: {info.spawnerr}. {unwritable}".strip()
    return unwritable or readable(last_line(log, info.spawnerr))
