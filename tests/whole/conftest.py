from collections.abc import Iterator

import pytest

from tests.processes import Agent, RunningServer, create_agent, serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    unlimited = dict.fromkeys(("WATCHWORD_LIMITS__PEER_FAILURES", "WATCHWORD_LIMITS__LOGIN_FAILURES"), "99999/1s")
    with serving(tmp_path_factory.mktemp("whole"), **unlimited) as server:
        server.watchword("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
        yield server


@pytest.fixture(scope="module")
def reader(running: RunningServer) -> Agent:
    return create_agent(running, "reader", "--scope", "read:data")
