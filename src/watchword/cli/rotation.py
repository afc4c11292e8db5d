"""Rotating a credential from the command line: which one, what takes its place, and where that is kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.keys import Way
from watchword.cli.output import TABLE, Document, View
from watchword.cli.profiles import AgentProfile, find_profile, write_profile
from watchword.cli.times import in_words
from watchword.client.profiles import profile_path
from watchword.clock import system_clock
from watchword.protocol import names

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient
    from watchword.cli.session import Session

PUBLIC_KEY: Final = "public_key"


def choose(credentials: Sequence[Document], wanted: str | None, *, now: datetime) -> Document:
    """Return the credential with this id; without one the only one that works and is not being replaced.

    Raises:
        CommandError: usage; cli.credential: none, or several
    """
    if wanted:
        found = [one for one in credentials if one.get("id") == wanted]
    else:
        found = [one for one in credentials if _goes_on(one, now) and not one.get("replaced_by")]
    if not found:
        sentence = (
            "This agent has no such credential." if wanted else "This agent has no credential that could be rotated."
        )
        raise CommandError(ExitCode.MISSING, sentence, reason="cli.credential")
    if len(found) > 1:
        raise usage(f"Which one? This agent has {', '.join(str(one['id']) for one in found)}: name one.")
    return found[0]


def _goes_on(credential: Document, now: datetime) -> bool:
    ends = credential.get("expires_at")
    return credential.get("state") == "active" and (ends is None or now < datetime.fromisoformat(str(ends)))


def countdown(credential: Document, *, now: datetime) -> str:
    """Return in words when a credential ends, and what comes after it."""
    ends, after = credential.get("expires_at"), credential.get("replaced_by")
    if ends is None or credential.get("state") != "active":
        return ""
    moment = datetime.fromisoformat(str(ends))
    words = in_words(moment, now=now) if now < moment else "ended"
    return f"{words}, then {after}" if after else words


def _in_short(new: Document, *, now: datetime) -> Document:
    """Return a new credential for people: of the one that it replaces the id, and when that ends."""
    old = new["replaces"]
    if not isinstance(old, dict):
        return new
    ends = in_words(datetime.fromisoformat(str(old["expires_at"])), now=now)
    return {**new, "replaces": f"{old['id']}, which ends {ends}"}


def show(session: Session, new: Document, view: View) -> None:
    """Show the new credential; say that a secret is shown once."""
    if session.form != TABLE:
        session.show(new, view)
        return
    session.show(_in_short(new, now=system_clock()), view)
    if "client_secret" in new:
        session.talk("The secret is shown this once.")


@dataclass(frozen=True, slots=True)
class Place:
    """The profile where the new one is to be kept."""

    name: str
    issuer: str


async def find_place(admin: AdminClient, name: str, old: Document) -> Place:
    """Return the profile, if it is this agent's at this server or there is none: asked before anything is made.

    Raises:
        CommandError: cli.profile_other
        LoginMisconfigured: it cannot be read.
    """
    found, issuer = find_profile(name), str((await admin.get("server"))["issuer"])
    if found is None:
        return Place(name, issuer)
    if not isinstance(found, AgentProfile) or (found.client_id, found.issuer) != (old["client_id"], issuer):
        sentence = (
            f"The profile {name} is somebody else's: choose another name, or delete {profile_path(name, os.environ)}."
        )
        raise CommandError(ExitCode.MISSING, sentence, reason="cli.profile_other")
    return Place(name, issuer)


def keep(place: Place, new: Document, way: Way) -> None:
    """Put the new secret or key into the profile, whole or not at all; what else the profile says stays.

    Raises:
        OSError, LoginMisconfigured: it could not be written.
    """
    found = find_profile(place.name)
    secret = str(new.get("client_secret", ""))
    method = names.CLIENT_SECRET_BASIC if secret else names.PRIVATE_KEY_JWT
    profile = (
        found
        if isinstance(found, AgentProfile)
        else AgentProfile(issuer=place.issuer, client_id=str(new["client_id"]), auth_method=method)
    )
    if secret:
        same = profile.auth_method if profile.client_secret else method
        profile = replace(_without_key(profile), auth_method=same, client_secret=secret)
    else:
        same = profile.auth_method if profile.private_key or profile.private_key_file else method
        profile = replace(
            _without_key(profile), auth_method=same, private_key=way.private_key, algorithm=way.algorithm, key_id=""
        )
    write_profile(place.name, profile, overwrite=True)


def _without_key(profile: AgentProfile) -> AgentProfile:
    return replace(profile, client_secret="", private_key="", private_key_file="", algorithm="", key_id="")
