from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.places import IN_PROCESS, in_process_stores, places_of

from watchword.testing.server import InProcessServer, Registered


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("store", places_of(metafunc.definition, IN_PROCESS), indirect=True)


@pytest.fixture(autouse=True)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The kind of store that the servers of a test have."""
    with in_process_stores(request.param, tmp_path) as new_store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcessServer, "new_store", staticmethod(new_store))
        yield request.param


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
