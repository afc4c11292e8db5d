"""Where a setting comes from: flag, then environment, then ``watchword.toml``, then the default.

The origin of every value is kept, so that ``watchword config show --origin`` can answer "who said so?". A name nobody knows
is refused with the name that was probably meant: a misspelt security setting must not be silently without effect.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from watchword.adapters.postgres_url import has_password
from watchword.adapters.redis_url import parse_redis_url
from watchword.environment import (
    LIMIT_NAMES,
    PATH_NAMES,
    SECRET_NAMES,
    SERVER_NAMES,
    SERVER_VARIABLES,
    check_environment,
    suggest,
)
from watchword.errors import BadSettings
from watchword.settings import ServerSettings, build_limits

__all__ = ["Loaded", "ServerSettings", "load_settings"]

FILE_NAME: Final = "watchword.toml"
DEFAULT: Final = "default"

_LIMITS: Final = "limits."

_NEEDED: Final = {
    "data": "give --data DIR, or set WATCHWORD_DATA",
    "issuer": "make the store with `watchword init --data DIR --issuer URL`, or set WATCHWORD_SERVER__ISSUER",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, by name, where each came from: ``flag``, ``environment NAME``, ``file PATH``, ``default``.

    The names of the section ``limits`` are those of attributes of ``settings`` too: ``limits.peer``.
    """

    settings: ServerSettings
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source: raw values by setting name and, for each, the words that name its origin."""

    values: Mapping[str, object]
    origins: Mapping[str, str]


def load_settings(
    flags: Mapping[str, object], *, environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> Loaded:
    """Return the checked settings of the server and where each came from.

    ``flags`` are by setting name; those that are ``None`` were not given. Files read: ``watchword.toml`` in the data
    directory, then (for what that leaves open) in ``directory``, by default the current one.

    Raises:
        BadSettings: settings.unknown_environment, settings.unknown_key, settings.file, settings.missing, settings.value, or
            what ``ServerSettings`` refuses; ``detail`` is a sentence that says what to do.
    """
    environ = os.environ if environ is None else environ
    check_environment(environ)
    layers = [_flag_layer(flags), _environment_layer(environ)]
    here = _read_here((directory or Path.cwd()) / FILE_NAME)
    data = next((layer.values["data"] for layer in (*layers, here) if "data" in layer.values), None)
    if data is not None:
        layers.append(_data_layer(Path(str(data))))
    return _build([*layers, here])


def _data_layer(data: Path) -> _Layer:
    layer = read_file(data / FILE_NAME)
    if "data" in layer.values:
        raise BadSettings(
            "settings.file", detail=f"{data / FILE_NAME} cannot move its own directory: remove the key data."
        )
    return layer


def _flag_layer(flags: Mapping[str, object]) -> _Layer:
    given = {name: value for name, value in flags.items() if value is not None}
    return _Layer(given, {name: f"flag --{name.replace('_', '-')}" for name in given})


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    if environ.get("WATCHWORD_DATA"):
        values["data"], origins["data"] = environ["WATCHWORD_DATA"], "environment WATCHWORD_DATA"
    for variable, name in SERVER_VARIABLES.items():
        if environ.get(variable):
            values[name], origins[name] = environ[variable], f"environment {variable}"
    return _Layer(values, origins)


def _read_here(path: Path) -> _Layer:
    """Whoever can put a file where somebody happens to stand must not be able to configure that person's server."""
    if path.exists() and path.stat().st_uid not in {0, os.geteuid()}:
        raise BadSettings("settings.file", detail=f"{path} belongs to another user: remove it, or run from elsewhere.")
    return read_file(path)


def read_file(path: Path) -> _Layer:
    """Return what a ``watchword.toml`` says; a file that is not there says nothing. Relative paths are from its directory.

    Raises:
        BadSettings: settings.file, settings.unknown_key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _Layer({}, {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings("settings.file", detail=f"{path} cannot be read: {error}.") from error
    _check_keys(path, document, ("server", "limits"), "")
    section = _section(path, document, "server", SERVER_NAMES)
    limits = _section(path, document, "limits", LIMIT_NAMES)
    for name in _secrets(section):
        detail = f"{path} holds the secret {name}: put it in a file of mode 0600 and name that file with {name}_file."
        raise BadSettings("settings.file", detail=detail)
    values = {
        key: str(path.parent / value) if key in PATH_NAMES and isinstance(value, str) else value
        for key, value in section.items()
    }
    values.update({_LIMITS + key: value for key, value in limits.items()})
    return _Layer(values, dict.fromkeys(values, f"file {path}"))


def _secrets(section: Mapping[str, object]) -> frozenset[str]:
    """The URL of a database, or of a cache, is secret where a password stands in it."""
    secrets = SECRET_NAMES & section.keys()
    if isinstance(section.get("database"), str) and not has_password(str(section["database"])):
        secrets -= {"database"}
    if isinstance(section.get("cache"), str) and not parse_redis_url(str(section["cache"])).password:
        secrets -= {"cache"}
    return secrets


def _section(path: Path, document: Mapping[str, object], name: str, known: Iterable[str]) -> Mapping[str, object]:
    section = document.get(name, {})
    if not isinstance(section, dict):
        raise BadSettings("settings.file", detail=f"{path}: {name} is a section; write [{name}] on a line of its own.")
    _check_keys(path, section, known, f"{name}.")
    return section


def _check_keys(path: Path, table: Mapping[str, object], known: Iterable[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            detail = f"The key {prefix}{key} in {path} means nothing to watchword; {suggest(key, known, prefix)}"
            raise BadSettings("settings.unknown_key", detail=detail)


def _build(layers: Iterable[_Layer]) -> Loaded:
    values, origins = _merge(layers)
    for name, remedy in _NEEDED.items():
        if name not in values:
            raise BadSettings("settings.missing", detail=f"The setting {name} is missing: {remedy}.")
    try:
        server = {name: value for name, value in values.items() if not name.startswith(_LIMITS)}
        limits = {name.removeprefix(_LIMITS): value for name, value in values.items() if name.startswith(_LIMITS)}
        settings = ServerSettings.model_validate({**server, "limits": build_limits(limits)})
    except ValidationError as error:
        problems = [
            _describe(each["loc"], each["msg"], origins)
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise BadSettings("settings.value", detail=f"A setting cannot be used. {'; '.join(problems)}.") from None
    return Loaded(settings, {name: origins.get(name, DEFAULT) for name in SERVER_VARIABLES.values()})


def _merge(layers: Iterable[_Layer]) -> tuple[dict[str, object], dict[str, str]]:
    """A secret and the file that holds it are one setting in two spellings: the nearest source decides for both."""
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        decided = {name.removesuffix("_file") for name in values}
        for name in layer.values:
            if name.removesuffix("_file") not in decided:
                values[name], origins[name] = layer.values[name], layer.origins[name]
    return values, origins


def _describe(location: tuple[int | str, ...], message: str, origins: Mapping[str, str]) -> str:
    name = str(location[0]) if location else "the settings"
    return f"{name} ({origins.get(name, DEFAULT)}): {message}"
