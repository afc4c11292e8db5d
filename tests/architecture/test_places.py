"""Every test of a whole server runs on every store, or stands here: none slips out silently."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.ledger import TESTS

STARTING = frozenset({"ServerProcess", "serving", "serving_here", "Serving"})
"""What starts a server in a process of its own."""

NOT_EVERYWHERE = {
    "tests/faults/test_disk.py": "the disk under the store's own files fails",
    "tests/faults/test_kill.py": "the file is looked at; tests/whole/test_stores.py kills servers with a database",
    "tests/faults/test_partition.py": "a partition between nodes and the database they share",
    "tests/deploy/": "what is started is what the deployment says",
    "tests/interop/": "other people's clients see the wire alone",
    "tests/packaging/test_wheel.py": "a wheel is installed without its extras",
    "tests/resource/test_whole_app.py": "an API that takes tokens is served, and no watchword",
}
"""Modules, or folders of them, outside of ``tests/whole`` that start a server without the fixture ``place``."""

MARKED = Counter(
    {
        "tests/whole/test_bad_setups.py": 1,
        "tests/whole/test_cache.py": 1,
        "tests/whole/test_clouds.py": 1,
        "tests/whole/test_custody.py": 1,
        "tests/whole/test_key_out_of_reach.py": 1,
        "tests/whole/test_database_away.py": 1,
        "tests/whole/test_dpop.py": 1,
        "tests/whole/test_emergency.py": 1,
        "tests/whole/test_feed.py": 1,
        "tests/whole/test_master_key.py": 1,
        "tests/whole/test_mutual_tls.py": 1,
        "tests/whole/test_rotation.py": 1,
        "tests/whole/test_stores.py": 3,
        "tests/whole/test_upgrading.py": 1,
    }
)
"""How many marks ``places`` stand in a module."""


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(TESTS.rglob("*.py")):
        name = str(path.relative_to(TESTS.parent))
        if path.name not in ("places.py", "processes.py", "server_process.py") and "architecture" not in path.parts:
            yield name, ast.parse(path.read_text(encoding="utf-8"), name)


def calls(tree: ast.AST) -> set[str]:
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def takes_place(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Constant) and node.value == "place" for node in ast.walk(tree)) or any(
        isinstance(node, ast.arg) and node.arg == "place" for node in ast.walk(tree)
    )


def test_whoever_starts_a_server_does_so_on_every_store_or_stands_here() -> None:
    starting = {name: tree for name, tree in parsed() if calls(tree) & STARTING and not name.startswith("tests/whole/")}
    elsewhere = {name for name, tree in starting.items() if not takes_place(tree)}
    assert sorted(name for name in elsewhere if not name.startswith(tuple(NOT_EVERYWHERE))) == []
    assert [place for place in NOT_EVERYWHERE if not any(name.startswith(place) for name in elsewhere)] == []


def test_every_mark_stands_here_and_says_why() -> None:
    marks = Counter[str]()
    for name, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "places":
                marks[name] += 1
                assert [keyword.arg for keyword in node.keywords] == ["why"], name
    assert marks == MARKED


def test_a_server_that_a_module_shares_is_another_one_on_another_store() -> None:
    """pytest makes a fixture anew only for what it asks for."""
    kept = []
    for name, tree in parsed():
        if not name.startswith("tests/whole/"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and is_shared(node) and calls(node) & STARTING:
                kept += [] if takes_place(node) else [f"{name}: {node.name}"]
    assert kept == []


def is_shared(function: ast.FunctionDef) -> bool:
    return any(
        isinstance(decorator, ast.Call) and any(keyword.arg == "scope" for keyword in decorator.keywords)
        for decorator in function.decorator_list
    )


def test_the_lists_are_of_files_that_exist() -> None:
    assert [name for name in (*NOT_EVERYWHERE, *MARKED) if not (Path(TESTS.parent) / name).exists()] == []
