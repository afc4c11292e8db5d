"""A login from where the process finds itself: environment, then profiles. No network is asked which of them is there.

A source counts as announced when anything of it is set. The first announced source is the one: if it cannot serve, that is
an error and not a reason to log in as somebody else.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchword.client.credential_file import CredentialFromFiles
from watchword.client.credentials import ClientCredential
from watchword.client.discovery import check_issuer
from watchword.client.dpop_key import DPoPKey, find_dpop
from watchword.client.environment import (
    Environ,
    Found,
    NotThere,
    blaming,
    look_for_certificate,
    look_for_key,
    look_for_secret,
    look_for_token,
    look_for_unsupported,
)
from watchword.client.errors import LoginMisconfigured
from watchword.client.login import Login
from watchword.client.profile_credentials import IN_PROFILE, build_credential
from watchword.client.profiles import DEFAULT, AgentProfile, profile_path, read_profile
from watchword.client.scopes import Scope
from watchword.client.variables import CLIENT_VARIABLES
from watchword.clock import Clock, system_clock
from watchword.ports.http import Transport

_NEAR = 0.88
_ADVICE = (
    "Set WATCHWORD_CLIENT_ID, WATCHWORD_CLIENT_SECRET and WATCHWORD_ISSUER; or let whoever runs the server write the profile: "
    "watchword agent create NAME --resource API --scope SCOPE --save-profile default"
)


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    look: Callable[[Environ], Found | NotThere]


@dataclass(frozen=True, slots=True)
class Tried:
    """One source and what came of it, for people."""

    source: str
    outcome: str


def default(
    *,
    scope: Scope = None,
    resource: str | None = None,
    audience: str | None = None,
    dpop: bool | DPoPKey | None = None,
    environ: Environ | None = None,
    transport: Transport | None = None,
    clock: Clock = system_clock,
) -> Login:
    """Return a login with the credential this process was given.

    In this order: ``WATCHWORD_CLIENT_ID`` and ``WATCHWORD_ISSUER`` (or ``WATCHWORD_URL``), with ``WATCHWORD_CLIENT_SECRET`` (or
    ``..._FILE``), with ``WATCHWORD_PRIVATE_KEY_FILE``, or with ``WATCHWORD_CLIENT_CERT`` and ``WATCHWORD_CLIENT_KEY``;
    ``WATCHWORD_FEDERATED_TOKEN_FILE`` or ``WATCHWORD_FEDERATED_TOKEN_FROM`` with the issuer; the
    profile that ``WATCHWORD_PROFILE`` names; the profile ``default``. ``WATCHWORD_CREDENTIALS`` names the sources that
    may be used. ``scope`` and ``resource`` stand before ``WATCHWORD_SCOPE`` and ``WATCHWORD_RESOURCE``, and those before the
    profile's; so does ``dpop`` before ``WATCHWORD_DPOP`` (``on`` or ``off``) and ``WATCHWORD_DPOP_KEY_FILE``.

    Raises:
        LoginMisconfigured: credentials.none, credentials.incomplete, credentials.unsupported, credentials.unknown_source,
            credentials.unknown_name, file.*, profile.*; what ``Login`` raises.
    """
    environ = os.environ if environ is None else environ
    found, _ = find_credential(environ)
    if resource is None and audience is None:
        resource = environ.get("WATCHWORD_RESOURCE") or found.resource or None
    if scope is None:
        scope = environ.get("WATCHWORD_SCOPE") or found.scope or None
    return Login(
        issuer=found.issuer,
        client=found.client,
        resource=resource,
        audience=audience,
        scope=scope,
        dpop=find_dpop(environ, found.dpop) if dpop is None else dpop,
        transport=transport,
        clock=clock,
    )


def find_credential(environ: Environ) -> tuple[Found, tuple[Tried, ...]]:
    """Return what the first announced source gives, and how it was come to.

    Raises:
        LoginMisconfigured: as ``default``; its text lists every source that was tried, and why it did not serve.
    """
    _refuse_misspelt(environ)
    tried: list[Tried] = []
    for source in _allowed(environ):
        try:
            outcome = source.look(environ)
        except LoginMisconfigured as error:
            tried.append(Tried(source.name, error.detail))
            raise LoginMisconfigured(error.reason, detail=_tell(tried)) from None
        if isinstance(outcome, Found):
            tried.append(Tried(source.name, "used"))
            return outcome, tuple(tried)
        tried.append(Tried(source.name, outcome.why))
    raise LoginMisconfigured("credentials.none", detail=f"{_tell(tried)}\n{_ADVICE}")


def _tell(tried: list[Tried]) -> str:
    lines = "\n".join(f"  {entry.source}: {entry.outcome}" for entry in tried)
    return f"no credential to log in with. Tried, in this order:\n{lines}"


def _refuse_misspelt(environ: Environ) -> None:
    """A name just beside one of ours was meant to be ours. Others, such as those a container platform sets, are let be."""
    for name in sorted(environ):
        if not name.startswith("WATCHWORD_") or name in CLIENT_VARIABLES or "__" in name:
            continue
        near = difflib.get_close_matches(name, CLIENT_VARIABLES, n=1, cutoff=_NEAR)
        if near:
            raise LoginMisconfigured(
                "credentials.unknown_name", detail=f"{name} is not a name of watchword: did you mean {near[0]}?"
            )


def _allowed(environ: Environ) -> tuple[_Source, ...]:
    wanted = [name for name in environ.get("WATCHWORD_CREDENTIALS", "").replace(",", " ").split() if name]
    known = [source.name for source in _SOURCES]
    for name in wanted:
        if name not in known:
            raise LoginMisconfigured(
                "credentials.unknown_source",
                detail=f"WATCHWORD_CREDENTIALS names {name!r}; the sources are: {', '.join(known)}",
            )
    return tuple(source for source in _SOURCES if not wanted or source.name in wanted)


def _look_for_profile(environ: Environ) -> Found | NotThere:
    name = environ.get("WATCHWORD_PROFILE", "")
    if not name:
        return NotThere("WATCHWORD_PROFILE is not set")
    with blaming("WATCHWORD_PROFILE"):
        return _from_profile(name, environ)


def _look_for_default_profile(environ: Environ) -> Found | NotThere:
    try:
        return _from_profile(DEFAULT, environ)
    except LoginMisconfigured as error:
        if error.reason in ("file.missing", "profile.kind", "profile.directory"):
            return NotThere(error.detail)
        raise


def _from_profile(name: str, environ: Environ) -> Found:
    path, profile = profile_path(name, environ), read_profile(name, environ)
    if not isinstance(profile, AgentProfile):
        raise LoginMisconfigured("profile.kind", detail=f"{path} is an operator's, not an agent's")
    with blaming(str(path)):
        return Found(
            issuer=check_issuer(profile.issuer),
            client=_of_profile(name, profile, environ),
            resource=profile.resource,
            scope=profile.scope,
            dpop=DPoPKey.from_file(profile.dpop_key_file) if profile.dpop_key_file else None,
        )


def _of_profile(name: str, profile: AgentProfile, environ: Environ) -> ClientCredential:
    """Return its credential, which follows the profile's file where it is a secret or a key; the others read their own files."""
    if profile.auth_method not in IN_PROFILE:
        return build_credential(profile)

    def build() -> ClientCredential:
        found = read_profile(name, environ)
        if not isinstance(found, AgentProfile) or found.issuer != profile.issuer:
            raise LoginMisconfigured("credential.changed", detail=f"the profile {name} is no longer one of this issuer")
        return build_credential(found)

    files = [profile.private_key_file] if profile.private_key_file else []
    return CredentialFromFiles(build, profile_path(name, environ), *map(Path, files))


_SOURCES: Final = (
    _Source("client-secret", look_for_secret),
    _Source("private-key", look_for_key),
    _Source("certificate", look_for_certificate),
    _Source("federated-token", look_for_token),
    _Source("api-key", look_for_unsupported("WATCHWORD_API_KEY", "WATCHWORD_API_KEY_FILE")),
    _Source("profile", _look_for_profile),
    _Source("default-profile", _look_for_default_profile),
)
