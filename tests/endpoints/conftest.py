from collections.abc import Iterator

import pytest

from watchword.testing.server import InProcessServer, Registered


@pytest.fixture
def server() -> InProcessServer:
    started = InProcessServer()
    started.add_resource()
    return started


@pytest.fixture
def reader(server: InProcessServer) -> Registered:
    return server.add_agent("reader")


@pytest.fixture
def sane(server: InProcessServer, reader: Registered) -> Iterator[None]:
    """Sanity last: whatever was refused before, the right request still works, and the trail has one event for each."""
    yield
    asked = len(server.events())
    assert server.token(reader).status == 200
    assert len(server.events()) == asked + 1
