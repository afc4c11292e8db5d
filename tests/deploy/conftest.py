"""Two nodes of one store, and either proxy in front of them."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.proxies import HOST, Front, front
from tests.processes import Agent, RunningServer, create_agent, environment, free_port, run
from tests.whole.server_process import PROGRAM, Serving

PROXIES = ("nginx", "haproxy")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes that answer as one issuer, whose port is the proxy's, and an agent that may read."""

    port: int
    nodes: tuple[Serving, ...]
    reader: Agent
    command: RunningServer

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [node.address for node in self.nodes]

    @property
    def issuer(self) -> str:
        return self.command.issuer

    def export(self) -> str:
        """The audit, an event a line."""
        command = [*PROGRAM, "--data", str(self.command.data), "audit", "export", "--format", "jsonl"]
        return run(command, env=environment(self.command.home), cwd=self.command.home)

    def again(self, number: int, address: tuple[str, int]) -> Serving:
        """The node of this number once more, where it was."""
        return node(self.command, self.command.home / f"again-{number}", address=address)


def node(
    command: RunningServer, folder: Path, *, address: tuple[str, int] = ("127.0.0.1", 0), workers: int = 1
) -> Serving:
    """A node behind a proxy of this machine; with a directory of its own where the store is a database."""
    folder.mkdir()
    arguments = ["--listen", f"{address[0]}:{address[1]}", "--workers", str(workers)]
    settings: dict[str, object] = {"issuer": command.issuer, "trusted_proxies": "127.0.0.1/32"}
    database = command.data / "database.url"
    if not database.exists():
        return Serving(folder, ["--data", str(command.data), *arguments], **settings)
    (folder / "data").mkdir(mode=0o700)
    secrets = {"database_file": database, "master_key_file": command.data / "master.key"}
    return Serving(folder, arguments, **settings, **secrets)


@contextlib.contextmanager
def cluster_of(folder: Path, database: str | None = None) -> Iterator[Cluster]:
    """Two nodes, one of them with two workers, on a file that they share or on a database."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    issuer = f"https://{HOST}:{port}"
    command = RunningServer(issuer=issuer, data=folder / "data", home=folder, program=PROGRAM)
    named = ["--database", database] if database else []
    env = environment(folder)
    run([*PROGRAM, "init", "--data", str(command.data), "--issuer", issuer, *named], env=env, cwd=folder)
    one, two = (node(command, folder / name, workers=workers) for name, workers in (("one", 2), ("two", 1)))
    with one, two:
        command.watchword("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
        reader = create_agent(command, "reader", "--scope", "read:data")
        yield Cluster(port, (one, two), reader, command)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=PROXIES)
def proxy(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front") / str(request.param)
    with front(str(request.param), cluster.port, cluster.addresses, folder) as running:
        yield running


@pytest.fixture(scope="module")
def helm() -> Any:
    """Helm's own engine."""
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("needs helm-python-sdk")
    import helm_python

    return helm_python
