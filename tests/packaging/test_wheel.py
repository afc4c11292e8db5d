"""The wheel that people install, not the clone that we work in. Nothing here asks the network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
import requests
from packaging.requirements import Requirement

from tests.interop.verifying import with_pyjwt
from tests.processes import create_agent, environment, run, serving

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        env=environment(folder),
        cwd=ROOT,
    )
    (built,) = folder.glob("*.whl")
    return built


def needed(requirements: list[str], extras: frozenset[str]) -> Iterator[Requirement]:
    """Give the requirements that hold on this machine for these extras."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def closure(requirements: list[str], extras: frozenset[str]) -> set[str]:
    """Return the names of everything that an installer would bring."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = list(needed(requirements, extras))
    while waiting:
        requirement = waiting.pop()
        key = requirement.name.lower(), frozenset(requirement.extras)
        if key not in found:
            found.add(key)
            waiting += needed(distribution(requirement.name).requires or [], key[1])
    return {name for name, _ in found}


def link_files(name: str, site: Path) -> None:
    """Put the files of an installed distribution, as links, where another environment finds them."""
    for file in distribution(name).files or []:
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.symlink_to(Path(str(file.locate())))


@dataclass(frozen=True, slots=True)
class Installed:
    """A fresh environment with the wheel and exactly what it declares that it needs."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def watchword(self) -> str:
        return str(self.folder / "bin" / "watchword")


def install(wheel: Path, folder: Path, *extras: str) -> Installed:
    """Install the wheel with these extras, its dependencies linked from the environment that runs the tests."""
    installed = Installed(folder / "venv")
    env = environment(folder)
    run([sys.executable, "-m", "venv", "--without-pip", str(installed.folder)], env=env, cwd=folder)
    pip = [sys.executable, "-m", "pip", "--python", installed.python, "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, str(wheel)], env=env, cwd=folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run([installed.python, "-c", where], env=env, cwd=folder).strip())
    declared = "from importlib.metadata import requires; print('\\n'.join(requires('watchword')))"
    requirements = run([installed.python, "-c", declared], env=env, cwd=folder).splitlines()
    for name in closure(requirements, frozenset(extras)):
        link_files(name, site)
    return installed


@pytest.fixture(scope="module")
def with_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def without_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(wheel, tmp_path_factory.mktemp("base"))


def test_the_wheel_holds_the_package_its_types_and_its_licence_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "watchword/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"watchword"}


def test_the_installed_wheel_tells_its_version(with_server: Installed, tmp_path: Path) -> None:
    printed = run([with_server.watchword, "version"], env=environment(tmp_path), cwd=tmp_path)
    declared = "from importlib.metadata import version; print(version('watchword'))"
    assert run([with_server.python, "-c", declared], env=environment(tmp_path), cwd=tmp_path).strip() in printed
    where = run(
        [with_server.python, "-c", "import watchword; print(watchword.__file__)"],
        env=environment(tmp_path),
        cwd=tmp_path,
    )
    assert Path(where.strip()).is_relative_to(with_server.folder)


def test_the_installed_wheel_serves_a_token(with_server: Installed, tmp_path: Path) -> None:
    with serving(tmp_path, [with_server.watchword]) as server:
        server.watchword("resource", "create", "my-api", "--scope", "read:data")
        agent = create_agent(server, "reader", "--scope", "read:data")
        answer = requests.post(
            server.token_endpoint,
            data={"grant_type": "client_credentials", "scope": "read:data"},
            auth=(agent.client_id, agent.client_secret),
            timeout=10,
        )
        assert answer.status_code == 200, answer.text
        assert with_pyjwt(answer.json()["access_token"], server)["client_id"] == agent.client_id


def test_without_the_server_extra_the_command_says_what_to_install(without_server: Installed, tmp_path: Path) -> None:
    done = subprocess.run(
        [without_server.watchword, "version"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert 'pip install "watchword[server]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_server_extra_agents_and_apis_have_what_they_need(
    without_server: Installed, tmp_path: Path
) -> None:
    program = (
        "import watchword; from watchword.resource import Verifier; print(watchword.Login, watchword.default, Verifier)"
    )
    assert "Verifier" in run([without_server.python, "-c", program], env=environment(tmp_path), cwd=tmp_path)
