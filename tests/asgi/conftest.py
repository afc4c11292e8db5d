import pytest

from tests.asgi.desk import Desk


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def desk(anyio_backend: str) -> Desk:
    return await Desk().open()
