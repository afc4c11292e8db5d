"""Where the first operator's credential goes: into a profile that takes nobody else's place."""

from __future__ import annotations

import os
import re
from pathlib import Path

from watchword.cli.exits import describe
from watchword.cli.output import talk
from watchword.cli.profiles import OperatorProfile, write_profile
from watchword.cli.session import Session
from watchword.client.profiles import DEFAULT, profile_path
from watchword.errors import WatchwordError


def save_operator(session: Session, issuer: str, token: str, data: Path) -> str | None:
    """Save the credential and return the profile's name, or nothing where it cannot be saved, which must not lose it."""
    try:
        name = session.choices.profile or _free_name(data)
        path = write_profile(name, OperatorProfile(url=issuer, token=token))
    except (WatchwordError, OSError) as error:
        talk(f"{describe(error)} The profile was not saved: keep the operator's credential, it is shown this once.")
        return None
    if name != DEFAULT and not session.choices.profile:
        session.talk(f"There is a profile default already; this one is named {name}: use it with --profile {name}.")
    session.talk(f"The operator's credential is in {path}.")
    return name


def _free_name(data: Path) -> str:
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", data.resolve().name).strip("-_")[:48] or "server"
    candidates = [DEFAULT, base, *(f"{base}-{number}" for number in range(2, 100))]
    return next(name for name in candidates if not _is_taken(name))


def _is_taken(name: str) -> bool:
    return profile_path(name, os.environ).exists()
