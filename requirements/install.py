"""Install packages into the virtual environment of this interpreter, whatever pip is configured to do elsewhere.

    .venv/bin/python -I requirements/install.py -r requirements/local.txt

Of pip's configuration (files and PIP_*) only what reaches a registry counts. Errors end with what helps.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REACH = {
    "index-url", "extra-index-url", "trusted-host", "cert", "client-cert", "proxy", "timeout", "retries", "cache-dir",
    "find-links", "keyring-provider",
}  # fmt: skip
HINTS = (
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|certificate",
        "Is there a proxy that opens TLS? Set PIP_CERT to its certificate (PEM).",
    ),
    (
        r"DO NOT MATCH THE HASHES|HashMismatch",
        "The registry gives other files than those that are pinned here: use another mirror (PIP_INDEX_URL).",
    ),
    (r"No space left", "Free some disk space."),
    (
        r"401 Error|HTTP error 40[137]|40[137] Client Error",
        "The registry refuses: give a user and a password, or another path, in PIP_INDEX_URL.",
    ),
    (r"HTTP error \d+", "The registry does not give this file: use another mirror (PIP_INDEX_URL)."),
    (
        r"versions: none",
        "Is the registry reachable? Set HTTPS_PROXY to a proxy that runs, or PIP_INDEX_URL to a mirror. If it is: the "
        "packages are for Python 3.11 to 3.13 on Linux (x86-64, and aarch64 where a package has it).",
    ),
    (
        r"NewConnectionError|NameResolutionError|ProxyError|ConnectTimeout|Connection\w*Error|timed out",
        "Is the registry reachable? Set HTTPS_PROXY to a proxy that runs, or PIP_INDEX_URL to a mirror.",
    ),
    (r"No matching distribution|not a supported wheel", "The packages are for Python 3.11 to 3.13 on Linux."),
)


def main(arguments: list[str]) -> int:
    """Run `pip install` with these arguments; return its exit status."""
    environment = clean_environment()
    command = [*_pip(), "install", "--progress-bar=off", "--no-input", *arguments]
    total = sum(number_of_packages(Path(name)) for name in arguments if name.endswith(".txt"))
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        output = list(show_progress(pip.stdout, total))
    if pip.returncode != 0:
        print(explanation(output), file=sys.stderr)
    return pip.returncode


def _pip() -> list[str]:
    return [sys.executable, "-I", "-m", "pip"]


def clean_environment() -> dict[str, str]:
    """Return our environment, with those settings of pip alone that reach a registry."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    listed = subprocess.run([*_pip(), "config", "list"], capture_output=True, text=True, check=False).stdout
    reach = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in reaching(listed).items()}
    return {**kept, **reach, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def reaching(listed: str) -> dict[str, str]:
    """Return the options in the output of `pip config list` that reach a registry: of the environment, of `install`,
    and of `global`, in this order."""
    options: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in options and option in REACH:
            options[section][option] = str(ast.literal_eval(value))
    return options["global"] | options["install"] | options[":env:"]


def number_of_packages(file: Path) -> int:
    """Return how many packages a file pins."""
    return len(re.findall(r"^[A-Za-z0-9].*==", file.read_text("utf-8"), flags=re.MULTILINE))


def show_progress(lines: Iterator[str], total: int) -> Iterator[str]:
    """Pass on pip's lines, and say which package is under way."""
    done = 0
    for line in lines:
        yield line
        matched = re.match(r"(?:Collecting|Requirement already satisfied:) ([^\s=<>;\[]+)", line)
        if matched and total:
            done += 1
            _show(f"  package {done} of {total}: {matched[1]}", is_last=done == total)
        elif line.startswith("Installing collected packages") and total:
            _show(f"  unpacking {total} packages ...", is_last=True)


def _show(text: str, *, is_last: bool) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{text}", end="\n" if is_last else "", flush=True)
    elif is_last:
        print(text, flush=True)


def explanation(output: list[str]) -> str:
    """Return pip's own errors and what helps."""
    errors = [line.strip() for line in output if line.startswith("ERROR:")] or [
        line.strip() for line in output[-3:]
    ]
    hint = next((text for sign, text in HINTS if re.search(sign, "".join(output))), "")
    return "\n".join(filter(None, ["", *errors[-3:], hint]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
