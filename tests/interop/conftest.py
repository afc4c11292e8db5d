"""A real server in a process of its own, and the programs of other people that talk to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.interop.programs import BUILD_SECONDS, CACHE, HERE, Go, Node, ask, number
from tests.processes import Agent, RunningServer, create_agent, run, serving


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server on loopback that owns the resource ``my-api`` with ``read:data`` and ``write:data``."""
    with serving(tmp_path_factory.mktemp("server")) as server:
        server.watchword("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
        yield server


@pytest.fixture(scope="session")
def reader(running_server: RunningServer) -> Agent:
    """An agent that may read my-api, and nothing else."""
    return create_agent(running_server, "reader", "--scope", "read:data")


@pytest.fixture(scope="session")
def node() -> Node:
    program = shutil.which("node")
    if program is None or number(ask(program, "--version")) < (18,):
        pytest.skip("suite interop/node: Node.js >= 18 not found")
    if not (CACHE / "node" / "node_modules" / "openid-client").is_dir():
        pytest.skip("suite interop/node: its libraries are not in .cache; ./scripts/test fetches them")
    return Node(program)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Go:
    program = shutil.which("go")
    if program is None or number(ask(program, "env", "GOVERSION")) < (1, 19):
        pytest.skip("suite interop/go: Go >= 1.19 not found")
    binaries = tmp_path_factory.mktemp("go-bin")
    run([program, "build", "-o", f"{binaries}/", "./..."], env=dict(os.environ), cwd=HERE / "go", seconds=BUILD_SECONDS)
    return Go(program, binaries)
