"""The ledger of rules (``tests/rules.toml``) and the tests that prove them, read without running anything.

A test names the rules it proves with ``@rule("R6749-3.2-02", "T8")``. ``tests/architecture/test_ledger.py`` holds both
sides together over all sources; the hook below refuses an unknown id already when a single file is collected.
"""

import ast
import functools
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LEDGER = TESTS / "rules.toml"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``why`` of a later row names the feature it waits for; ``still`` of a tested one, what will widen it."""

    id: str
    section: str
    text: str
    status: str
    why: str = ""
    still: str = ""


@functools.cache
def read_ledger() -> dict[str, Rule]:
    """Return every row by id. A row with a member that is not known is refused by ``Rule`` itself."""
    rows = tomllib.loads(LEDGER.read_text(encoding="utf-8"))
    return {id_: Rule(id=id_, **row) for id_, row in rows.items()}


def find_marks(root: Path = TESTS) -> dict[str, set[str]]:
    """Return, for every id in a ``rule(...)`` of the sources below ``root``, the files it stands in."""
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.py")):
        for id_ in marks_in(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            found.setdefault(id_, set()).add(str(path.relative_to(root)))
    return found


def marks_in(tree: ast.AST) -> Iterator[str]:
    """Return the ids in every call of ``rule``. They must be literals, so that nothing has to run to know them.

    Raises:
        ValueError: an argument is computed.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not _is_rule(node.func):
            continue
        for argument in node.args:
            if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                raise ValueError(f"line {node.lineno}: write the ids of a rule as literals")
            yield argument.value


def _is_rule(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id == "rule") or (
        isinstance(function, ast.Attribute) and function.attr == "rule"
    )


def refuse_unknown_ids(items: Iterable[pytest.Item]) -> None:
    """Stop a run in which a test names a rule that is not in the ledger.

    Raises:
        pytest.UsageError
    """
    named = {(id_, item.nodeid) for item in items for mark in item.iter_markers("rule") for id_ in mark.args}
    unknown = sorted(f"{id_} in {nodeid}" for id_, nodeid in named if id_ not in read_ledger())
    if unknown:
        raise pytest.UsageError("not in tests/rules.toml: " + "; ".join(unknown))
