"""Print the findings of `zmart doctor`: one line for each, or JSON."""

from __future__ import annotations

import json

import msgspec
from rich.console import Console
from rich.text import Text

from zmart.local.doctor import DoctorFinding
from zmart.printable import printable


def print_findings(findings: list[DoctorFinding], *, as_json: bool) -> int:
    """Print the findings, and return the exit status: 0 if all checks succeeded, else 1."""
    if as_json:
        print(json.dumps([msgspec.to_builtins(finding) for finding in findings]))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            # A str would be markup: rich would read zmart[local] as a style, and :warning: as an emoji.
            mark = ("✓", "green") if finding.ok else ("✗", "red")
            console.print(Text.assemble(mark, " ", printable(finding.sentence)))
    return 0 if all(finding.ok for finding in findings) else 1
