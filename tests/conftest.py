"""For the whole suite: nothing of the developer's own settings reaches a test, and CI lets nothing be skipped."""

import os
import signal
from collections.abc import Generator, Iterator

import pytest

from tests.ledger import refuse_unknown_ids
from tests.places import new_place, places_of
from watchword.testing.process import ServerProcess

REQUIRE_ALL = "WATCHWORD_TEST_REQUIRE_ALL"

for name in [name for name in os.environ if name.startswith("WATCHWORD_") and not name.startswith("WATCHWORD_TEST_")]:
    del os.environ[name]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background deaf to SIGINT, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get(REQUIRE_ALL) != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{REQUIRE_ALL}=1 and this would have been skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", places_of(metafunc.definition), indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of store that every server of a test has (``tests/places.py``). What starts one for a module takes it, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerProcess, "new_place", staticmethod(new_place(request.param)))
        yield request.param


LONG = ("whole", "faults", "deploy", "interop", "docs")
"""Folders whose files take long: what begins first does not end last, alone on one core."""


def _place_in_line(item: pytest.Item) -> int:
    folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
    return LONG.index(folder) if folder in LONG else len(LONG)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    refuse_unknown_ids(items)
    items.sort(key=_place_in_line)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: made at random, they would name one test differently in two processes."""
    return argname if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None
