import pytest

from tests.operations.scene import Scene


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def scene() -> Scene:
    return Scene()
