"""Imports point down, never sideways and never up (docs/architecture.md)."""

import ast
import sys

import pytest

from tests.architecture.sources import Import, Module, imports_of, modules, part_of

FLOORS = {
    "": 0,  # the package itself: the version, and names resolved on first use
    "errors": 0,
    "clock": 0,
    "forking": 0,
    "protocol": 1,
    "ports": 2,
    "server": 3,
    "client": 3,
    "resource": 3,
    "adapters": 4,
    "integrations": 4,
    "operations": 4,
    "asgi": 5,
    "console": 5,
    "environment": 6,
    "settings": 6,
    "mtls_settings": 6,
    "cloud_settings": 6,
    "clouds": 6,
    "custody_settings": 6,
    "revocation_settings": 6,
    "custodies": 6,
    "config": 6,
    "compose": 6,
    "doors": 6,
    "feeding": 6,
    "listing": 6,
    "fetching": 6,
    "sealing": 6,
    "listening": 6,
    "serving": 6,
    "sharing": 6,
    "stores": 6,
    "judging": 6,
    "ways_in": 6,
    "bootstrap": 6,
    "upkeep": 6,
    "cli": 7,
    "__main__": 8,
    "testing": 9,  # public, for tests: it may use anything, and nothing uses it
}

TOGETHER = {
    **dict.fromkeys(["", "errors", "clock", "forking"], "ground"),
    **dict.fromkeys(
        [
            "environment",
            "settings",
            "config",
            "compose",
            "doors",
            "feeding",
            "listing",
            "fetching",
            "sealing",
            "listening",
            "mtls_settings",
            "cloud_settings",
            "clouds",
            "custody_settings",
            "revocation_settings",
            "custodies",
            "serving",
            "sharing",
            "stores",
            "judging",
            "ways_in",
            "bootstrap",
            "upkeep",
        ],
        "configuration",
    ),
}
"""Parts of one floor that may know each other."""

EXCEPTIONS = {
    ("client", "watchword.adapters.outbound"): "the default transport",
    ("resource", "watchword.adapters.outbound"): "the default transport",
    (
        "integrations",
        "watchword.adapters.keys_pkcs11",
    ): "an agent's key in a token: its library has one line of callers in a process",
    ("integrations", "watchword.adapters.keys_pkcs11_session"): "the same",
    ("client", "watchword.integrations.httpx2"): "Login.auth() returns the integration with the client we depend on",
}
"""Imports up or sideways that are allowed: inside a function, or for types only."""

FAMILIES = {
    ("watchword.adapters.keys_file", "watchword.adapters.master_key"): "the file's envelope is sealed under this key",
    ("watchword.adapters.postgres_rows", "watchword.adapters.sqlite_rows"): "rows of both stores hold the same values",
    (
        "watchword.adapters.postgres_rows",
        "watchword.adapters.sqlite_values",
    ): "columns of both stores hold the same values",
    (
        "watchword.adapters.postgres_issuers",
        "watchword.adapters.sqlite_issuers",
    ): "rows of both stores hold the same values",
    (
        "watchword.adapters.postgres_revocations",
        "watchword.adapters.sqlite_revocations",
    ): "rows of both stores hold the same values",
}
"""Adapters that know each other, beside those that share the first word of their name."""

LIBRARIES = {
    "errors": frozenset(),
    "clock": frozenset(),
    "forking": frozenset(),
    "protocol": frozenset({"cryptography", "joserfc"}),
    "ports": frozenset(),
    "server": frozenset(),
    "client": frozenset(),
    "resource": frozenset(),
    "operations": frozenset(),
}
"""What the floors that decide may import from elsewhere: no framework, no database, no HTTP library."""

IMPURE = frozenset(
    {"asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "selectors", "shutil", "socket"}
    | {"sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "warnings"}
)
"""What ``protocol`` does not touch: it reads no clock, no environment, no network, and logs nothing."""

ALL_IMPORTS = [one for module in modules() for one in imports_of(module)]


def test_every_part_has_a_floor():
    assert {module.part for module in modules()} <= FLOORS.keys()


def test_imports_point_down():
    assert [str(one) for one in ALL_IMPORTS if _is_ours(one) and _points_up(one)] == []


def test_parts_of_one_floor_do_not_know_each_other():
    assert [str(one) for one in ALL_IMPORTS if _is_ours(one) and _points_sideways(one)] == []


def test_adapters_and_integrations_do_not_know_each_other():
    strangers = [
        str(one)
        for one in ALL_IMPORTS
        if one.module.part in {"adapters", "integrations"}
        and one.target.startswith(f"watchword.{one.module.part}.")
        and _family(one.module.name) != _family(one.target)
        and (one.module.name, one.target) not in FAMILIES
    ]
    assert strangers == []


def test_the_exceptions_are_lazy():
    eager = [str(one) for one in ALL_IMPORTS if _exception(one) and not (one.is_lazy or one.is_for_types)]
    assert eager == []


def test_every_exception_is_still_needed():
    used = {(one.module.part, one.target) for one in ALL_IMPORTS}
    assert [exception for exception in EXCEPTIONS if exception not in used] == []
    pairs = {(one.module.name, one.target) for one in ALL_IMPORTS}
    assert [family for family in FAMILIES if family not in pairs] == []


def test_the_floors_that_decide_know_no_framework_and_no_database():
    foreign = [
        str(one)
        for one in ALL_IMPORTS
        if one.module.part in LIBRARIES
        and not _is_ours(one)
        and (top := one.target.partition(".")[0]) not in sys.stdlib_module_names
        and top not in LIBRARIES[one.module.part]
    ]
    assert foreign == []


def test_the_rules_of_the_protocols_are_pure():
    impure = [
        str(one) for one in ALL_IMPORTS if one.module.part == "protocol" and one.target.partition(".")[0] in IMPURE
    ]
    assert impure == []


@pytest.mark.parametrize(
    ("name", "source", "judge"),
    [
        ("watchword.protocol.x", "from watchword.server import entry", "_points_up"),
        ("watchword.server.x", "def f():\n    from watchword.adapters.outbound import OutboundTransport", "_points_up"),
        ("watchword.server.x", "import watchword.asgi.app", "_points_up"),
        ("watchword.server.x", "from ..asgi import app", "_points_up"),
        ("watchword.asgi.x", "from watchword import testing", "_points_up"),
        ("watchword.client.x", "from watchword.resource.verifier import Verifier", "_points_sideways"),
        ("watchword.resource.x", "from watchword.server import entry", "_points_sideways"),
        ("watchword.operations.x", "from watchword.adapters import sqlite", "_points_sideways"),
    ],
)
def test_a_wrong_import_would_be_seen(name, source, judge):
    (one,) = imports_of(Module(name, modules()[0].path.with_name("x.py"), ast.parse(source)))
    assert {"_points_up": _points_up, "_points_sideways": _points_sideways}[judge](one)


def _is_ours(one: Import) -> bool:
    return one.target == "watchword" or one.target.startswith("watchword.")


def _exception(one: Import) -> bool:
    return (one.module.part, one.target) in EXCEPTIONS


def _points_up(one: Import) -> bool:
    """The package itself may name for types what it resolves on first use."""
    is_public_name = one.module.name == "watchword" and one.is_for_types
    return FLOORS[part_of(one.target)] > FLOORS[one.module.part] and not _exception(one) and not is_public_name


def _points_sideways(one: Import) -> bool:
    here, there = one.module.part, part_of(one.target)
    is_level = FLOORS[here] == FLOORS[there] and here != there
    return is_level and TOGETHER.get(here, here) != TOGETHER.get(there, there) and not _exception(one)


def _family(name: str) -> str:
    return name.split(".")[2].split("_")[0] if name.count(".") > 1 else ""
