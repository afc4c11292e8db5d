from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from watchword.bootstrap import initialise

ISSUER = "https://auth.example.com"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as `init` makes it; never written to again."""
    data = tmp_path_factory.mktemp("made") / "data"
    asyncio.run(initialise(data, ISSUER))
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    copy = tmp_path / "data"
    shutil.copytree(made, copy)
    return copy
