"""A function fits a screen, a module can be read in one go, and every module says in its name what it is for."""

import ast

from tests.architecture.sources import modules

LONGEST_FUNCTION = 50
LONGEST_MODULE = 300

LONG_MODULES: dict[str, str] = {}
"""Modules that may be longer, each with its reason."""

VAGUE = {"base", "common", "core", "helper", "helpers", "lib", "manager", "misc", "tools", "util", "utils"}


def test_functions_fit_a_screen():
    long = [
        f"{module.name}.{node.name}: {lines} lines"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_modules_can_be_read_in_one_go():
    lengths = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules()}
    long = {name for name, lines in lengths.items() if lines > LONGEST_MODULE}
    assert {name: lengths[name] for name in long - LONG_MODULES.keys()} == {}
    assert LONG_MODULES.keys() - long == set(), "no longer long: take it off the list"


def test_no_module_has_a_vague_name():
    assert [module.name for module in modules() if VAGUE.intersection(module.name.split("."))] == []


def test_every_module_says_what_it_is():
    assert [module.name for module in modules() if not ast.get_docstring(module.tree)] == []
