import asyncio
from pathlib import Path

import pytest

from watchword.adapters.data_directory import alone, in_use
from watchword.errors import BadSettings


def refusal_of_alone(directory: Path) -> str:
    with pytest.raises(BadSettings) as caught, alone(directory):
        pass
    return caught.value.reason


def test_several_servers_may_run_on_a_directory_and_nobody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_use(tmp_path), in_use(tmp_path):
            assert refusal_of_alone(tmp_path) == "store.in_use"
        with alone(tmp_path):
            assert refusal_of_alone(tmp_path) == "store.in_use"
            with pytest.raises(BadSettings) as caught:
                async with in_use(tmp_path):
                    pass
            assert caught.value.reason == "store.in_use"
        async with in_use(tmp_path):
            pass

    asyncio.run(run())


def test_what_fails_inside_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), alone(tmp_path):
        raise BlockingIOError
    with alone(tmp_path):
        pass


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_directory_is_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    assert refusal_of_alone(tmp_path / name) == "store.missing"
