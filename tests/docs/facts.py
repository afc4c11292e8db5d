"""What the code has that a reader must find in the documentation, read from the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import typer
from prometheus_client import Counter

from tests.architecture.sources import Module, calls_in, modules
from watchword.adapters.metrics import Metrics
from watchword.cli.app import build_app
from watchword.client.variables import CLIENT_VARIABLES
from watchword.environment import LIMIT_NAMES, SERVER_NAMES, SERVER_VARIABLES
from watchword.operations.roles import LEAST_ROLE
from watchword.ports.agents import AgentState
from watchword.protocol import names
from watchword.protocol.descriptions import DESCRIPTIONS
from watchword.settings import ServerSettings
from watchword.testing.server import InProcessServer

SHIPPED = tuple(module for module in modules() if module.part != "testing")

ACTIONS = {
    *LEAST_ROLE,
    "admin.request",
    "challenge.issue",
    "credential.count",
    "credential.end",
    "credential.expiring",
    "credential.old",
    "feed.read",
    "node.forget",
    "operator.authenticate",
    "revocation.prune",
    "token.introspect",
    "token.issue",
    "token.revoke",
}

NOT_REASONS = {
    *ACTIONS,
    *("http.disconnect", "http.request", "http.response.body", "http.response.start"),  # ASGI
    *("websocket.close", "websocket.http.response"),
    "wsgi.version",  # PEP 3333
    *("database.url", "demo.curl", "master.key", "replay.db"),  # files
}
"""Texts with a dot in them that are something else."""

COMPOSED = {
    *(f"client.{state}" for state in AgentState if state is not AgentState.ACTIVE),
    *(f"credential.{member}" for member in (names.CLIENT_ID, names.CLIENT_SECRET)),
    *(f"{noun}.name" for noun in ("agent", "label", "operator", "resource", "trusted_issuer")),
    *(f"{noun}.expires_at" for noun in ("agent", "credential", "operator")),
    *(
        f"{noun}.{what}"
        for noun in ("agent", "operator", "permission", "resource", "signing_key", "trusted_issuer")
        for what in ("missing", "version")
    ),
    "internal",
}
"""Reasons that are put together where they are raised."""

_COMPOSITIONS = {
    *("client.{}", "credential.{}", "refused.{}", "{}.expires_at", "{}.missing", "{}.name", "{}.version"),
    *(
        "header.{}",
        "limits.{}",
        "watchword.cli.{}",
        "{}.toml",
        "{}.{}",
        "{}http.response.body",
        "{}http.response.start",
    ),  # not reasons
}
_DOTTED = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
_WITH_GAPS = re.compile(r"[a-z_{}]+(?:\.[a-z0-9_{}]+)+")


@dataclass(frozen=True)
class Command:
    """One command as it is typed, its options, and those that every command has."""

    name: str
    options: frozenset[str]


def reasons() -> set[str]:
    """Return every reason: the described, the composed, and every dotted text in the code that is not something else."""
    texts = {text for module in SHIPPED for text in _texts(module.tree) if _DOTTED.fullmatch(text)}
    return {*DESCRIPTIONS, *COMPOSED, *(text for text in texts - NOT_REASONS if not text.startswith("watchword."))}


def new_compositions() -> set[str]:
    """Return dotted texts with gaps that nobody has judged yet: they may be reasons."""
    found = {_gaps(node) for module in SHIPPED for node in ast.walk(module.tree) if isinstance(node, ast.JoinedStr)}
    return {text for text in found if _WITH_GAPS.fullmatch(text)} - _COMPOSITIONS


def success_reasons() -> set[str]:
    """Return the reasons of events that tell of a success."""
    found: set[str] = {"resumed", "suspended"}  # a variable, in operations/agents.py
    for module in SHIPPED:
        for name, call in calls_in(module.tree):
            first = call.args[0] if call.args else None
            if name in {"commit", "succeed"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found - {""}


def log_events() -> dict[str, set[str]]:
    """Return the structured log events of the server and the fields of each."""
    found: dict[str, set[str]] = {}
    for module in SHIPPED:
        if not _has_structured_log(module):
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "log":
                event = node.args[0]
                assert isinstance(event, ast.Constant), f"{module.name}:{node.lineno}: name the event with a literal"
                found.setdefault(str(event.value), set()).update(word.arg for word in node.keywords if word.arg)
    return found


def metrics() -> dict[str, tuple[str, ...]]:
    """Return the metrics under the names they are exposed with, and their labels."""
    found = {}
    registry = Metrics("0", grants=(), methods=()).registry
    for collector in list(registry._collector_to_names):
        name = collector._name + ("_total" if isinstance(collector, Counter) else "")
        found[name] = tuple(collector._labelnames)
    return found


def settings() -> dict[str, tuple[str, object]]:
    """Return the settings of the server: environment variable and default by name."""
    fields = ServerSettings.model_fields
    assert {*SERVER_NAMES, "limits"} == fields.keys()
    limits = fields["limits"].get_default()
    defaults = {
        **{name: fields[name].get_default() for name in SERVER_NAMES},
        **{f"limits.{name}": getattr(limits, name) for name in LIMIT_NAMES},
    }
    return {name: (variable, defaults[name]) for variable, name in SERVER_VARIABLES.items()}


def variables() -> set[str]:
    """Return every environment variable that means something."""
    return {*CLIENT_VARIABLES, *(variable for variable, _ in settings().values())}


def commands() -> dict[str, Command]:
    """Return every command of the command line by the way it is typed."""
    root = typer.main.get_command(build_app().app)
    found = {}
    for words, command in _leaves(root, ("watchword",)):
        name = " ".join(words)
        found[name] = Command(name, frozenset(_options(command)))
    return found


def common_options() -> frozenset[str]:
    """Return the options that every command has."""
    return frozenset.intersection(*(command.options for command in commands().values()))


def routes() -> set[str]:
    """Return the routes of the admin API as ``METHOD /path`` below its prefix."""
    document = InProcessServer(with_admin=True).ask("GET", names.PATH_ADMIN + "/openapi.json").json
    return {
        f"{method.upper()} {path.removeprefix(names.PATH_ADMIN)}"
        for path, methods in document["paths"].items()
        for method in methods
    }


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _gaps(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def _has_structured_log(module: Module) -> bool:
    return any(name == "get_logger" for name, _ in calls_in(module.tree))


def _leaves(command: object, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name, child in below.items():
        yield from _leaves(child, (*words, name))


def _options(command: object) -> Iterator[str]:
    for parameter in command.params:  # type: ignore[attr-defined]  # click's own, carried within typer
        if parameter.param_type_name == "option":
            yield from (*parameter.opts, *parameter.secondary_opts)
