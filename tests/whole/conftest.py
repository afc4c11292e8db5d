from collections.abc import Iterator

import pytest

from tests.processes import Agent, RunningServer, create_agent, serving
from watchword.testing.process import FAIL_AT_WILL


@pytest.fixture(scope="module", autouse=True)
def on_every_place(place: str) -> None:
    """All of these tests run on every store."""


@pytest.fixture(scope="module")
def running(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("whole"), **FAIL_AT_WILL) as server:
        server.watchword("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
        yield server


@pytest.fixture(scope="module")
def reader(running: RunningServer) -> Agent:
    return create_agent(running, "reader", "--scope", "read:data")
