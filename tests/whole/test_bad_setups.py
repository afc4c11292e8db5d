"""Bad set-ups speak: one clear sentence, the right exit code, and nothing damaged. By the real command line alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw
import httpx2
import pytest

from tests import rule
from tests.adapters.test_sqlite import NEWER
from tests.processes import environment, run, serving
from watchword.testing.process import free_port

PROGRAM = (sys.executable, "-m", "watchword")
ISSUER = "https://auth.example.com"
SECONDS = 60

pytestmark = pytest.mark.places("sqlite", why="files are spoilt, the store's own among them")

SERVE = ("serve", "--data", "data", "--listen", "127.0.0.1:0", "--management", "127.0.0.1:0")
LIST = ("--data", "data", "agent", "list")
COMMANDS = (SERVE, LIST)


def in_turn(*cases: object) -> list[tuple[object, tuple[str, ...]]]:
    """Each case with one of the commands that open the store: they open it alike."""
    return [(case, COMMANDS[number % 2]) for number, case in enumerate(cases)]


@dataclass(frozen=True)
class Spoken:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Setup:
    """A user's folder with a data directory of its own, and what stood in it before."""

    folder: Path
    before: dict[str, bytes | None]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.data / "watchword.db"

    def remember(self) -> None:
        self.before = contents(self.folder)

    def speaks(self, *arguments: str, before: tuple[str, ...] = (), **env: str) -> Spoken:
        """Run a command that must be refused: one line, no trace, and everything as it was."""
        self.remember()
        spoken = command(self.folder, *arguments, before=before, **env)
        assert spoken.out == ""
        lines = spoken.err.splitlines()
        assert len(lines) == 1, spoken.err
        assert lines[0].startswith("watchword: ")
        assert "Traceback" not in spoken.err
        after = contents(self.folder)
        assert {name: after.get(name) for name in self.before} == self.before
        new = {name: content for name, content in after.items() if name not in self.before}
        assert all(name.endswith(("-shm", "-wal")) or content is None for name, content in new.items()), new.keys()
        return spoken


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder; of what is no file, that it is there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        is_file = stat.S_ISREG(path.lstat().st_mode)
        found[str(path.relative_to(folder))] = path.read_bytes() if is_file else None
    return found


def command(folder: Path, *arguments: str, before: tuple[str, ...] = (), **env: str) -> Spoken:
    done = subprocess.run(
        [*before, *PROGRAM, *arguments],
        env=environment(folder, **env),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Spoken(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an agent in it; never written to again."""
    folder = tmp_path_factory.mktemp("pristine")
    env = environment(folder)
    for arguments in (
        ("init", "--data", "data", "--issuer", ISSUER, "--no-print"),
        ("--data", "data", "resource", "create", "my-api", "--scope", "read:data"),
        ("--data", "data", "agent", "create", "reader", "--resource", "my-api", "--scope", "read:data"),
    ):
        run([*PROGRAM, *arguments], env=env, cwd=folder)
    return folder / "data"


@pytest.fixture
def setup(pristine: Path, tmp_path: Path) -> Setup:
    shutil.copytree(pristine, tmp_path / "data")
    return Setup(tmp_path, {})


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_the_set_up_itself_is_good(setup: Setup) -> None:
    assert command(setup.folder, *LIST, "-o", "json").code == 0


@pytest.mark.parametrize(
    "arguments",
    [*COMMANDS, ("backup", "--data", "data", "x"), ("doctor", "--data", "data"), ("migrate", "--data", "data")],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_missing_data_directory(tmp_path: Path, arguments: tuple[str, ...], is_there: bool) -> None:
    if is_there:
        (tmp_path / "data").mkdir()
    spoken = Setup(tmp_path, {}).speaks(*arguments)
    assert spoken.code == 6
    assert "watchword init --data data" in spoken.err


@rule("O4")
@pytest.mark.parametrize(("foreign", "arguments"), in_turn("text", "database", "directory", "pipe", "backup"))
def test_a_foreign_data_directory(setup: Setup, arguments: tuple[str, ...], foreign: str) -> None:
    if foreign == "backup":
        assert command(setup.folder, "backup", "--data", "data", "copy").code == 0
    setup.store.unlink()
    match foreign:
        case "text":
            setup.store.write_text("a letter to a friend\n" * 1000)
        case "database":
            db = apsw.Connection(str(setup.store))
            db.execute("CREATE TABLE notes (text)")
            db.close()
        case "directory":
            setup.store.mkdir()
        case "pipe":
            os.mkfifo(setup.store)
        case _:
            shutil.copy(setup.folder / "copy", setup.store)
    spoken = setup.speaks(*arguments)
    assert spoken.code == 2
    assert ("watchword restore" if foreign == "backup" else "is not a database of watchword") in spoken.err


def test_an_unknown_setting_is_named_with_the_one_that_was_meant(setup: Setup) -> None:
    for arguments in COMMANDS:
        spoken = setup.speaks(*arguments, WATCHWORD_SERVER__LOGLEVEL="debug")
        assert spoken.code == 2
        assert "WATCHWORD_SERVER__LOG_LEVEL?" in spoken.err
        assert setup.speaks(*arguments, WATCHWORD_DAT="x").code == 2
    with (setup.data / "watchword.toml").open("a") as file:
        file.write("insecure_htttp = true\n")
    for arguments in COMMANDS:
        spoken = setup.speaks(*arguments)
        assert spoken.code == 2
        assert "did you mean server.insecure_http?" in spoken.err


@rule("K9")
@pytest.mark.parametrize(
    ("spoiling", "arguments"),
    in_turn(
        (lambda key: key.write_text("A" * 43 + "=\n"), "not the master key"),
        (lambda key: key.chmod(0o644), "chmod 600"),
        (lambda key: key.chmod(0o660), "chmod 600"),
        (lambda key: key.unlink(), "does not exist"),
        (lambda key: key.write_text(""), "base64"),
        (lambda key: key.write_text(key.read_text()[:20]), "32 bytes"),
        (lambda key: key.rename(key.with_name("k")) and key.symlink_to("k"), "symbolic link"),
        (lambda key: key.unlink() or key.mkdir(), "is not a file"),
    ),
)
def test_a_master_key_that_cannot_be_used(
    setup: Setup, spoiling: tuple[Callable[[Path], object], str], arguments: tuple[str, ...]
) -> None:
    spoil, says = spoiling
    spoil(setup.data / "master.key")
    spoken = setup.speaks(*arguments)
    assert spoken.code == 1
    assert says in spoken.err


def test_an_occupied_port(setup: Setup, occupied: int) -> None:
    for option in ("--listen", "--management"):
        spoken = setup.speaks(*SERVE, option, f"127.0.0.1:{occupied}")
        assert spoken.code == 2
        assert f"127.0.0.1:{occupied}" in spoken.err


def without_rights() -> tuple[str, ...]:
    """What makes the superuser obey the modes of files, like anybody else."""
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@rule("O3")
@pytest.mark.parametrize(
    ("modes", "arguments"),
    [*in_turn((0o500, 0o400), (0o500, 0o600), (0o700, 0o400)), ((0o500, 0o400), ("backup", "--data", "data", "x"))],
)
def test_a_disk_that_cannot_be_written(setup: Setup, modes: tuple[int, int], arguments: tuple[str, ...]) -> None:
    for path in setup.data.iterdir():
        path.chmod(modes[1])
    setup.data.chmod(modes[0])
    spoken = setup.speaks(*arguments, before=without_rights())
    setup.data.chmod(0o700)
    assert spoken.code == 1
    assert "cannot be written: check owner, mode and mount" in spoken.err


@rule("O3")
def test_a_full_disk(setup: Setup) -> None:
    limit = ("prlimit", "--fsize=0")
    spoken = setup.speaks(*LIST[:2], "agent", "create", "other", before=limit)
    assert spoken.code == 7
    assert command(setup.folder, *LIST[:2], "agent", "create", "other").code == 0


def test_a_file_that_cannot_be_read(setup: Setup) -> None:
    setup.store.chmod(0o000)
    spoken = command(setup.folder, *LIST, before=without_rights())
    assert (spoken.code, spoken.out) == (2, "")
    assert "run as its owner" in spoken.err


@rule("O14")
@pytest.mark.parametrize(
    ("schema", "arguments"),
    in_turn(
        (NEWER, "upgrade watchword"),
        ("DELETE FROM migrations WHERE number > 1", "`watchword migrate --data"),
        ("UPDATE migrations SET checksum = 'x'", "restore a backup"),
    ),
)
def test_another_schema(setup: Setup, schema: tuple[str, str], arguments: tuple[str, ...]) -> None:
    statement, says = schema
    db = apsw.Connection(str(setup.store))
    db.execute(statement)
    db.close()
    spoken = setup.speaks(*arguments)
    assert spoken.code == 2
    assert says in spoken.err


def zeros(content: bytes, begin: int, end: int) -> bytes:
    return content[:begin] + bytes(end - begin) + content[end:]


@rule("O4")
@pytest.mark.parametrize(
    ("damage", "arguments"),
    in_turn(
        lambda content: b"",
        lambda content: content[:50],
        lambda content: content[:4096],
        lambda content: content[: len(content) // 2],
        lambda content: zeros(content, 100, 4096),
        lambda content: zeros(content, 4096, len(content)),
        lambda content: content[:16] + bytes(52) + content[68:],
    ),
    ids=["empty", "begun", "one page", "half", "no schema", "zero pages", "no header"],
)
def test_a_damaged_store(setup: Setup, arguments: tuple[str, ...], damage: Callable[[bytes], bytes]) -> None:
    setup.store.write_bytes(damage(setup.store.read_bytes()))
    spoken = setup.speaks(*arguments)
    assert spoken.code == 1
    assert "restore a backup" in spoken.err


@rule("O4")
@pytest.mark.parametrize("seed", range(5))
def test_flipped_bits_are_refused_in_words_or_harmless(setup: Setup, seed: int) -> None:
    content, dice = bytearray(setup.store.read_bytes()), random.Random(seed)
    for _ in range(8):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    setup.store.write_bytes(content)
    spoken = command(setup.folder, *LIST, "-o", "json")
    if spoken.code == 0:
        assert len(json.loads(spoken.out)) <= 1
    else:
        assert spoken.code in (1, 2)
        assert len(spoken.err.splitlines()) == 1
        assert setup.store.read_bytes() == content


def crashed(setup: Setup) -> None:
    """Leave the files as a server does that was killed: the last commits in the write-ahead log alone."""
    env = environment(setup.folder)
    with subprocess.Popen(
        [*PROGRAM, *SERVE], env=env, cwd=setup.folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert any('"event":"ready"' in line.replace(" ", "") for line in server.stderr)
        run([*PROGRAM, *LIST[:2], "agent", "create", "last"], env=env, cwd=setup.folder)
        os.killpg(server.pid, signal.SIGKILL)
    assert setup.store.with_name("watchword.db-wal").stat().st_size > 0


@rule("O4")
def test_a_write_ahead_log_that_is_missing(setup: Setup) -> None:
    crashed(setup)
    log = setup.store.with_name("watchword.db-wal")
    kept = log.read_bytes()
    log.unlink()
    spoken = setup.speaks(*SERVE)
    assert spoken.code == 1
    assert "watchword.db-wal is missing" in spoken.err
    log.write_bytes(kept)
    log.chmod(0o600)
    found = json.loads(command(setup.folder, *LIST, "-o", "json").out)
    assert [agent["name"] for agent in found] == ["last", "reader"]


@rule("O4")
def test_a_write_ahead_log_of_another_store(setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Setup(tmp_path_factory.mktemp("other"), {})
    run([*PROGRAM, "init", "--data", "data"], env=environment(other.folder), cwd=other.folder)
    crashed(other)
    shutil.copy(other.store.with_name("watchword.db-wal"), setup.data)
    spoken = setup.speaks(*SERVE)
    assert spoken.code == 1
    assert "watchword.db-wal is another database's" in spoken.err
    for end in ("-wal", "-shm"):
        setup.store.with_name(f"watchword.db{end}").unlink()
    assert [one["name"] for one in json.loads(command(setup.folder, *LIST, "-o", "json").out)] == ["reader"]


@pytest.mark.parametrize("arguments", [(*SERVE, "--issuer", "https://other.example.com"), LIST])
def test_another_issuer_on_the_store(setup: Setup, arguments: tuple[str, ...]) -> None:
    env: Mapping[str, str] = (
        {} if "--issuer" in arguments else {"WATCHWORD_SERVER__ISSUER": "https://other.example.com"}
    )
    spoken = setup.speaks(*arguments, **env)
    assert spoken.code == 6
    assert ISSUER in spoken.err
    assert "`watchword config set-issuer https://other.example.com --data data`" in spoken.err


def test_a_second_server_with_another_issuer_does_not_disturb_the_first(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        for arguments in (
            (*SERVE, "--issuer", "https://other.example.com"),
            ("config", "set-issuer", "https://other.example.com", "--data", "data"),
        ):
            spoken = command(tmp_path, *arguments)
            assert (spoken.code, spoken.out) == (6, "")
            assert len(spoken.err.splitlines()) == 1
        first.watchword("resource", "create", "my-api", "--scope", "read:data")
        document = httpx2.get(f"{first.issuer}/.well-known/oauth-authorization-server").json()
        assert document["issuer"] == first.issuer
    spoken = command(tmp_path, "config", "set-issuer", f"http://127.0.0.1:{free_port()}", "--data", "data")
    assert spoken.code == 0


def test_a_backup_is_not_put_back_under_a_running_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert command(tmp_path, "backup", "--data", "data", "copy").code == 0
        assert command(tmp_path, "restore", "copy", "--data", "data").code == 6
        kept = {path.name: path.read_bytes() for path in server.data.iterdir()}
        for path in server.data.iterdir():
            path.unlink()
        spoken = command(tmp_path, "restore", "copy", "--data", "data")
        assert spoken.code == 6
        assert "has a server running on it" in spoken.err
        assert list(server.data.iterdir()) == []
    assert kept
    assert command(tmp_path, "restore", "copy", "--data", "data").code == 0
