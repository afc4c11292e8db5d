"""Profiles: named files with a credential and where it is good.

``$XDG_CONFIG_HOME/watchword/profiles/<name>.toml``, mode 0600. ``kind = "agent"`` has issuer, client_id, auth_method, what
that method needs (client_secret; private_key or private_key_file, with algorithm and key_id where wanted;
federated_token_file) and, where wanted, resource, scope and dpop_key_file (of the key its tokens are bound to);
``kind = "operator"`` has url and token.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import read_private_file

DEFAULT: Final = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProfile:
    """An agent's credential at one issuer, and what it asks for when nothing else is said."""

    issuer: str
    client_id: str
    auth_method: str
    client_secret: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    private_key_file: str = ""
    certificate_file: str = ""
    algorithm: str = ""
    key_id: str = ""
    resource: str = ""
    scope: str = ""
    dpop_key_file: str = ""
    federated_token_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorProfile:
    """An operator's credential at one server."""

    url: str
    token: str = field(repr=False)


Profile = AgentProfile | OperatorProfile
_KINDS: Final[Mapping[str, type[Profile]]] = {"agent": AgentProfile, "operator": OperatorProfile}


def profile_directory(environ: Mapping[str, str]) -> Path:
    """Return where profiles live. A relative ``XDG_CONFIG_HOME`` is ignored, as its specification asks.

    Raises:
        LoginMisconfigured: profile.directory.
    """
    named = environ.get("XDG_CONFIG_HOME", "")
    base = Path(named) if named.startswith("/") else _home(environ) / ".config"
    return base / "watchword" / "profiles"


def _home(environ: Mapping[str, str]) -> Path:
    named = environ.get("HOME")
    if named:
        return Path(named)
    with contextlib.suppress(RuntimeError):  # a user without an entry in the system, as in many a container
        return Path("~").expanduser()
    raise LoginMisconfigured("profile.directory", detail="there is no home directory: set HOME or XDG_CONFIG_HOME")


def profile_path(name: str, environ: Mapping[str, str]) -> Path:
    """Return the file of a profile.

    Raises:
        LoginMisconfigured: profile.name, which could lead out of the directory; profile.directory.
    """
    if _NAME.fullmatch(name) is None:
        raise LoginMisconfigured(
            "profile.name", detail=f"{name!r} cannot name a profile: letters, digits, '-', '_' and '.', at most 64"
        )
    return profile_directory(environ) / f"{name}.toml"


def read_profile(name: str, environ: Mapping[str, str] = os.environ) -> Profile:
    """Return the profile of this name.

    Raises:
        LoginMisconfigured: profile.name, profile.directory, profile.form, profile.unknown; file.missing, file.mode and the
            other reasons of ``read_private_file``.
    """
    path = profile_path(name, environ)
    text = read_private_file(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        detail = f"{path} is not TOML: {error.args[0] if _is_harmless(error) else 'it cannot be parsed'}"
        raise LoginMisconfigured("profile.form", detail=detail) from None
    return _parse(path, document)


def _is_harmless(error: tomllib.TOMLDecodeError) -> bool:
    """Say whether the message names a place and nothing of the content, which may be a secret."""
    return re.fullmatch(r"[A-Za-z ]+\(at (line \d+, column \d+|end of document)\)", str(error)) is not None


def _parse(path: Path, document: Mapping[str, object]) -> Profile:
    kind = document.get("kind")
    shape = _KINDS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise LoginMisconfigured(
            "profile.form", detail=f'{path} has no kind: write kind = "agent" or kind = "operator"'
        )
    names = [entry.name for entry in fields(shape)]
    values: dict[str, str] = {}
    for key, value in document.items():
        if key == "kind":
            continue
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise LoginMisconfigured("profile.unknown", detail=f"{path} has an unknown member {key!r}{hint}")
        if not isinstance(value, str):
            raise LoginMisconfigured("profile.form", detail=f"{path}: {key} must be a string")
        values[key] = value
    try:
        return shape(**values)
    except TypeError:
        missing = [entry for entry in ("issuer", "client_id", "auth_method", "url", "token") if entry in names]
        absent = ", ".join(entry for entry in missing if entry not in values)
    raise LoginMisconfigured("profile.form", detail=f"{path} lacks {absent}")
