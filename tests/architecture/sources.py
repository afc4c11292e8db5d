"""The sources of watchword as the architecture tests read them: parsed, never run."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"


@dataclass(frozen=True)
class Module:
    """One file. ``name`` is dotted: ``watchword.protocol.form``; a package has the name of its directory."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        """The first name below ``watchword``; empty for the package itself."""
        return part_of(self.name)

    def is_below(self, *names: str) -> bool:
        """Whether this is one of these modules, or inside one of these packages."""
        return any(self.name == name or self.name.startswith(name + ".") for name in names)


@dataclass(frozen=True)
class Import:
    """``module`` imports ``target``; ``is_lazy`` inside a function, ``is_for_types`` under ``TYPE_CHECKING``."""

    module: Module
    target: str
    is_lazy: bool
    is_for_types: bool

    def __str__(self) -> str:
        return f"{self.module.name} -> {self.target}"


@functools.cache
def modules() -> tuple[Module, ...]:
    """Return every module of the distribution, by name."""
    return tuple(_read(path) for path in sorted((SOURCES / "watchword").rglob("*.py")))


@functools.cache
def names() -> frozenset[str]:
    """Return the dotted names of all modules."""
    return frozenset(module.name for module in modules())


def part_of(name: str) -> str:
    """Return the first name below ``watchword``."""
    return name.split(".")[1] if "." in name else ""


def imports_of(module: Module) -> Iterator[Import]:
    """Return what a module imports, lazily too; of ``from x import y`` the module ``x.y`` where that is one."""
    for node, is_lazy, is_for_types in _walk(module.tree, is_lazy=False, is_for_types=False):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            targets = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in names() else base for alias in node.names]
        else:
            continue
        for target in targets:
            yield Import(module, target, is_lazy, is_for_types)


def calls_in(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Return every call with the last name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield last_name(node.func), node


def last_name(function: ast.expr) -> str:
    """Return ``c`` of ``a.b.c``; empty for what has no name."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def dotted(expression: ast.expr) -> str:
    """Return ``a.b.c`` as text; empty where there is more than names in it."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute) and (before := dotted(expression.value)):
        return f"{before}.{expression.attr}"
    return ""


def _read(path: Path) -> Module:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.path.stem == "__init__" else module.name.split(".")[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _walk(node: ast.AST, *, is_lazy: bool, is_for_types: bool) -> Iterator[tuple[ast.AST, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        lazy = is_lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        for_types = is_for_types or (isinstance(child, ast.If) and last_name(child.test) == "TYPE_CHECKING")
        yield child, lazy, for_types
        yield from _walk(child, is_lazy=lazy, is_for_types=for_types)
