"""Profiles, written: named files that hold a credential and where it is good, readable by their owner alone.

They are read by ``client/profiles.py``, which refuses a file that others can read: its secret has to be thought of as known.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from watchword.cli.exits import CommandError, ExitCode
from watchword.client.errors import LoginMisconfigured
from watchword.client.profiles import (
    AgentProfile,
    OperatorProfile,
    Profile,
    profile_directory,
    profile_path,
    read_profile,
)

__all__ = ["AgentProfile", "OperatorProfile", "find_profile", "operator_profiles", "write_private", "write_profile"]


def find_profile(name: str) -> Profile | None:
    """Return a profile, or nothing when there is none of that name.

    Raises:
        LoginMisconfigured: it is readable by others, belongs to somebody else, or is not a profile.
    """
    try:
        return read_profile(name, os.environ)
    except LoginMisconfigured as error:
        if error.reason == "file.missing":
            return None
        raise


def check_free(name: str) -> None:
    """Return if there is no profile of this name yet: asked before a secret is made that would have nowhere to go.

    Raises:
        CommandError: there is one.
        LoginMisconfigured: profile.name.
    """
    path = profile_path(name, os.environ)
    if path.exists():
        raise _exists(name, path)


def write_profile(name: str, profile: Profile, *, overwrite: bool = False) -> Path:
    """Write a profile, mode 0600, and return its path.

    Raises:
        CommandError: there is one of that name and ``overwrite`` is not set.
    """
    path = profile_path(name, os.environ)
    kind = "operator" if isinstance(profile, OperatorProfile) else "agent"
    table = {"kind": kind, **{key: value for key, value in asdict(profile).items() if value}}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items()]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    try:
        write_private(path, "".join(lines), overwrite=overwrite)
    except FileExistsError:
        raise _exists(name, path) from None
    return path


def _exists(name: str, path: Path) -> CommandError:
    sentence = f"There is a profile named {name} already: choose another name, or delete {path}."
    return CommandError(ExitCode.MISSING, sentence, reason="cli.profile_exists")


def write_private(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a file of mode 0600, whole or not at all.

    Raises:
        FileExistsError: it is there and ``overwrite`` is not set.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # in containers a process number comes again
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if overwrite:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def operator_profiles() -> Mapping[str, OperatorProfile]:
    """Return every usable operator profile by name; files that others can read are left out."""
    found: dict[str, OperatorProfile] = {}
    for path in sorted(profile_directory(os.environ).glob("*.toml")):
        try:
            profile = find_profile(path.stem)
        except LoginMisconfigured:
            continue
        if isinstance(profile, OperatorProfile):
            found[path.stem] = profile
    return found
