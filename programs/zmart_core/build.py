"""Build the on-chain program: `build.py` writes the shipped files, `build.py --check` compares a rebuild with them.

The build needs ziglang (clang with the BPF target) from requirements/dev.txt and nothing of Solana's tool chain.
The same compiler version gives the same bytes on every machine: the program has no path, time or debug data.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from interface import write_interface
from linker import LinkError, link

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT / "src" / "zmart" / "chain" / "data"
SHIPPED = DATA / "zmart_core.so"
IDL = DATA / "zmart_core.idl.json"
INTERFACE = HERE / "interface.h"
CACHE = ROOT / ".zmart" / "cache" / "program"

FLAGS = [
    *("-target", "bpfel-freestanding"),
    "-mcpu=v2",  # the newest BPF level that sBPF v3 accepts: later levels use instructions that it refuses
    *("-std=gnu11", "-O2", "-ffreestanding", "-fno-builtin", "-fno-jump-tables", "-fno-strict-aliasing"),
    "-fno-sanitize=all",  # zig adds undefined-behaviour traps otherwise
    *("-fno-ident", "-fno-asynchronous-unwind-tables", "-g0"),
    *("-mllvm", "-bpf-stack-size=4096"),
    *("-Wall", "-Wextra", "-Werror"),
]


class BuildError(Exception):
    """The program cannot be built; the message says what to do."""


def build() -> bytes:
    """Compile and link the sources in this folder; return the program, an ELF file. Raises BuildError or LinkError."""
    return link(compile_object(HERE / "prog.c"))


def compile_object(source: Path) -> bytes:
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError(
            "The compiler is missing: install requirements/dev.txt (it brings ziglang), then build again."
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    target = CACHE / f"prog-{os.getpid()}.o"
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"), "ZIG_LOCAL_CACHE_DIR": str(CACHE / "zig")}
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-c", source.name, "-o", str(target)]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command on our own source
            command, cwd=source.parent, env=os.environ | caches, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(f"The compiler refused {source.name}:\n{done.stderr}")
        return target.read_bytes()
    finally:
        target.unlink(missing_ok=True)


def check() -> str:
    """Compare interface.h and the shipped program with a new build; return a sentence with the size and the hash.

    Raises BuildError when one of the two differs.
    """
    if INTERFACE.read_text() != write_interface(IDL):
        raise BuildError("interface.h is not what the IDL says: run build.py and commit the result.")
    built, shipped = build(), SHIPPED.read_bytes()
    if built != shipped:
        raise BuildError(
            f"The shipped program differs from its sources: shipped {describe(shipped)}, built {describe(built)}. "
            "Run build.py and commit the result."
        )
    return f"The shipped program equals its sources: {describe(built)}."


def write() -> str:
    """Write interface.h and the program; return a sentence that says whether the shipped program changed."""
    INTERFACE.write_text(write_interface(IDL))
    built = build()
    before = SHIPPED.read_bytes() if SHIPPED.exists() else b""
    if built == before:
        return f"Unchanged: {SHIPPED.relative_to(ROOT)} is {describe(built)}."
    SHIPPED.write_bytes(built)
    return f"CHANGED: {SHIPPED.relative_to(ROOT)} is now {describe(built)}."


def describe(program: bytes) -> str:
    return f"{len(program)} bytes, sha256 {hashlib.sha256(program).hexdigest()[:16]}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the on-chain program.")
    parser.add_argument(
        "--check", action="store_true", help="compare a rebuild with the shipped file, write nothing"
    )
    arguments = parser.parse_args()
    try:
        print(check() if arguments.check else write())
    except (BuildError, LinkError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
