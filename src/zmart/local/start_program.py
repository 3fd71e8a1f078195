"""Start a program as a chosen user, and end it when its parent ends.

Run as a script with only the standard library, so that it costs a few milliseconds:

python -I -S start_program.py [--as namespace|nobody] [--die-with-parent SIGNAL [--parent PID]] -- program arguments

PostgreSQL refuses to run as root. `namespace` puts the program into a user namespace in which the present user is
called nobody: its files keep their owner, and folders with mode 0700 stay accessible. `nobody` drops root permanently.
`--die-with-parent` asks the kernel to send SIGNAL when the parent ends in any way, so that no program outlives a killed
supervisord.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NOBODY = 65534
CANNOT_START = 126


def enter_namespace() -> None:
    """Become user 65534 (nobody) in a new user namespace; files on disk still belong to the user outside of it.

    Raises OSError if user namespaces are not allowed.
    """
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespace here")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {uid} 1"),
        ("gid_map", f"{NOBODY} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(line)


def become_nobody() -> None:
    """Become the user and group 65534 (nobody) permanently. Raises OSError unless this process runs as root."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def parent_of_ours(options: dict[str, str]) -> int:
    """Return the pid of the parent with which this process must end: the option `--parent`, or the present parent.

    Under supervisord, end this process if its parent is not a process of the same stack: supervisord has ended then.
    """
    parent = int(options.get("--parent", os.getppid()))
    stack = os.environ.get("ZMART_STACK")
    if stack and "SUPERVISOR_ENABLED" in os.environ and sys.platform == "linux":
        with open(f"/proc/{parent}/environ", "rb") as file:
            if f"ZMART_STACK={stack}".encode() not in file.read().split(b"\0"):
                sys.exit(CANNOT_START)  # supervisord has ended, and another process has adopted this one
    return parent


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask the kernel for `signal_number` when the parent ends; end at once if it has already ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(CANNOT_START)


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the arguments at `--` into the options, and the program with its arguments."""
    split = arguments.index("--")
    return dict(zip(arguments[:split:2], arguments[1:split:2], strict=True)), arguments[split + 1 :]


def apply(options: dict[str, str]) -> None:
    """Change the user of this process, and let it end with its parent, as the options say. Raises OSError."""
    parent = parent_of_ours(options)
    if options.get("--as") == "namespace":
        enter_namespace()
    elif options.get("--as") == "nobody":
        become_nobody()
    if "--die-with-parent" in options:
        die_with_parent(int(options["--die-with-parent"]), parent)


def main(arguments: list[str]) -> None:
    """Apply the options, and replace this process by the program; exit with status 126 if that fails."""
    options, command = parse(arguments)
    try:
        apply(options)
        os.execvp(command[0], command)  # noqa: S606  (no shell, on purpose)
    except OSError as problem:
        print(f"cannot start {command[0]}: {problem}", file=sys.stderr)
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1:])
