"""Importing watchword is cheap: the budget is a list of modules, not a time."""

import subprocess
import sys

import pytest

import watchword
import watchword.resource

LIBRARIES = {"cryptography", "joserfc"}
SERVER_PARTS = (
    "server",
    "operations",
    "asgi",
    "console",
    "compose",
    "config",
    "doors",
    "listening",
    "mtls_settings",
    "settings",
    "sharing",
    "feeding",
    "judging",
    "listing",
    "ways_in",
    "environment",
    "cli",
    "testing",
)


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after the statement, and not without it."""
    before, after = (_modules(code) for code in ("pass", statement))
    return after - before


def _modules(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def foreign(loaded: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in loaded}
    return {top for top in tops if top not in sys.stdlib_module_names and not top.startswith("_")} - {"watchword"}


def test_importing_watchword_loads_nothing_else():
    loaded = loaded_by("import watchword")
    assert {name for name in loaded if name.startswith("watchword")} == {"watchword"}
    assert foreign(loaded) == set()


@pytest.mark.parametrize("name", [name for name in watchword.__all__ if name != "__version__"])
def test_a_name_of_the_client_loads_no_server_and_no_framework(name):
    check(loaded_by(f"from watchword import {name}"), "resource")


@pytest.mark.parametrize("name", watchword.resource.__all__)
def test_a_name_of_the_resource_side_loads_no_server_and_no_framework(name):
    check(loaded_by(f"from watchword.resource import {name}"), "client")


@pytest.mark.parametrize("name", watchword.resource.__all__)
def test_a_name_of_the_resource_side_loads_no_event_loop(name):
    assert "asyncio" not in loaded_by(f"from watchword.resource import {name}")


def check(loaded: set[str], other_side: str) -> None:
    assert foreign(loaded) <= LIBRARIES
    parts = {name.split(".")[1] for name in loaded if name.startswith("watchword.")}
    assert parts.isdisjoint({*SERVER_PARTS, other_side})
