"""The Dockerfile: what hadolint says, what it must say of users and files, and its commands, run without Docker.

Docker itself is not needed: where it is missing no image is built, and what its build would do is looked at step by step.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import rule
from tests.deploy.proxies import ROOT
from tests.packaging.test_wheel import closure
from tests.processes import free_port
from tests.whole.server_process import Serving, initialised
from watchword.environment import SERVER_VARIABLES

FOLDER = ROOT / "deploy" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
LOCK = (FOLDER / "requirements.lock").read_text()
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
EXTRAS = frozenset({"server", "postgres", "redis"})


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(name, rest) for line in joined.splitlines() if line for name, _, rest in [line.partition(" ")]]


def last_stage() -> dict[str, list[str]]:
    """The instructions of the stage that is shipped."""
    found: dict[str, list[str]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found = {}
        found.setdefault(name, []).append(rest)
    return found


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs hadolint")
    done = subprocess.run(
        [program, "-c", str(FOLDER / "hadolint.yaml"), str(FOLDER / "Dockerfile")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_does_not_run_as_root_and_writes_its_data_only() -> None:
    stage = last_stage()
    assert stage["USER"] == ["10001:10001"]
    assert stage["VOLUME"] == ["/var/lib/watchword"]
    assert stage["COPY"] == ["--from=build /opt/watchword /opt/watchword"]
    assert "ADD" not in stage


def test_no_secret_and_no_name_that_means_nothing_is_in_its_environment() -> None:
    names = re.findall(r"(WATCHWORD_\w+)=", " ".join(last_stage()["ENV"]))
    assert set(names) <= {*SERVER_VARIABLES, "WATCHWORD_DATA"}
    assert not any(word in name for name in names for word in ("KEY", "SECRET", "TOKEN"))


@rule("DR-15")
def test_it_installs_what_its_lock_pins_and_nothing_else() -> None:
    installs = [rest for name, rest in instructions() if name == "RUN" and " install " in rest and "pip" in rest]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--no-index ./watchword-" in installs[1]
    assert all("--no-deps" in install for install in installs)


@rule("DR-15")
def test_its_lock_is_the_project_s_for_a_server() -> None:
    pinned = {canonicalize_name(name): version for name, version in PIN.findall(LOCK)}
    everything = {
        canonicalize_name(name): version for name, version in PIN.findall((ROOT / "requirements.lock").read_text())
    }
    assert pinned == {name: everything.get(name) for name in pinned}, "run ./scripts/lock"
    needed = {
        str(canonicalize_name(Requirement(name).name)) for name in closure([f"watchword[{','.join(EXTRAS)}]"], EXTRAS)
    }
    assert needed - {"watchword"} <= pinned.keys(), "run ./scripts/lock"
    assert "pytest" not in pinned
    assert "://" not in LOCK


def test_nothing_but_the_wheel_and_the_lock_reaches_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = [rest.split()[0] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    kept = [line.removeprefix("!") for line in lines[1:]]
    assert sorted(copied) == sorted(kept)
    assert fnmatch.fnmatch("dist/watchword-1.0-py3-none-any.whl", kept[0])


def test_its_command_serves_and_its_check_tells_a_well_server_from_none(tmp_path: Path) -> None:
    stage = last_stage()
    entry, command = json.loads(stage["ENTRYPOINT"][0]), json.loads(stage["CMD"][0])
    assert [*entry, *command[:1]] == ["watchword", "serve"]
    (check,) = re.findall(r"CMD (\[.+\])$", stage["HEALTHCHECK"][0])
    port = free_port()
    program = [part.replace("127.0.0.1:8022", f"127.0.0.1:{port}") for part in json.loads(check)]
    assert program != json.loads(check)
    program[0] = sys.executable
    assert subprocess.run(program, capture_output=True, timeout=30, check=False).returncode != 0
    initialised(tmp_path, "https://auth.example.com")
    listen = [part.replace("8020", "0") for part in command[1:]]
    with Serving(tmp_path, [*listen, "--management", f"127.0.0.1:{port}", "--trusted-proxy", "127.0.0.1/32"]):
        subprocess.run(program, capture_output=True, timeout=30, check=True)
