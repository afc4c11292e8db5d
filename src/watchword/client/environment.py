"""Credentials that the environment announces: each source says what it gives, or why it is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchword.client.credentials import ClientCredential, ClientSecretBasic
from watchword.client.discovery import check_issuer
from watchword.client.dpop_key import DPoPKey
from watchword.client.errors import LoginMisconfigured
from watchword.client.federated_token import FederatedToken, GitHubActionsToken

TOKEN_FILE: Final = "WATCHWORD_FEDERATED_TOKEN_FILE"  # noqa: S105 -- a variable's name
TOKEN_FROM: Final = "WATCHWORD_FEDERATED_TOKEN_FROM"  # noqa: S105 -- a variable's name
GITHUB_ACTIONS: Final = "github-actions"

_CERTIFICATE: Final = ("WATCHWORD_CLIENT_CERT", "WATCHWORD_CLIENT_KEY")

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a source gives."""

    issuer: str
    client: ClientCredential
    resource: str = ""
    scope: str = ""
    dpop: DPoPKey | None = None


@dataclass(frozen=True, slots=True)
class NotThere:
    """The source is not announced here; ``why`` names what is not set."""

    why: str


def look_for_secret(environ: Environ) -> Found | NotThere:
    """A client secret, or the file that holds one."""
    secret, file = environ.get("WATCHWORD_CLIENT_SECRET", ""), environ.get("WATCHWORD_CLIENT_SECRET_FILE", "")
    client_id = environ.get("WATCHWORD_CLIENT_ID", "")
    if not secret and not file:
        if client_id and not any(
            environ.get(name)
            for name in ("WATCHWORD_PRIVATE_KEY_FILE", TOKEN_FILE, TOKEN_FROM, *_CERTIFICATE, *_UNSUPPORTED)
        ):
            raise LoginMisconfigured(
                "credentials.incomplete",
                detail="WATCHWORD_CLIENT_ID is set, but neither WATCHWORD_CLIENT_SECRET nor WATCHWORD_CLIENT_SECRET_FILE: "
                "set one of them",
            )
        return NotThere("WATCHWORD_CLIENT_SECRET and WATCHWORD_CLIENT_SECRET_FILE are not set")
    if secret and file:
        raise LoginMisconfigured(
            "credentials.incomplete",
            detail="WATCHWORD_CLIENT_SECRET and WATCHWORD_CLIENT_SECRET_FILE are both set: keep one",
        )
    client_id, issuer, named = _who_and_where(environ, "a secret is set")
    with blaming(file or "WATCHWORD_CLIENT_ID, WATCHWORD_CLIENT_SECRET"):
        client: ClientCredential = (
            ClientSecretBasic.from_file(client_id, file) if file else ClientSecretBasic(client_id, secret)
        )
    with blaming(named):
        return Found(issuer=check_issuer(issuer), client=client)


def look_for_key(environ: Environ) -> Found | NotThere:
    """A private key in a file."""
    file = environ.get("WATCHWORD_PRIVATE_KEY_FILE", "")
    if not file:
        return NotThere("WATCHWORD_PRIVATE_KEY_FILE is not set")
    from watchword.client.private_key_jwt import PrivateKeyJwt  # it loads cryptography

    client_id, issuer, named = _who_and_where(environ, "WATCHWORD_PRIVATE_KEY_FILE is set")
    with blaming("WATCHWORD_CLIENT_ID, WATCHWORD_PRIVATE_KEY_FILE"):
        client = PrivateKeyJwt.from_file(client_id, file)
    with blaming(named):
        return Found(issuer=check_issuer(issuer), client=client)


def look_for_certificate(environ: Environ) -> Found | NotThere:
    """A certificate and its key, in files."""
    certificate, key = (environ.get(name, "") for name in _CERTIFICATE)
    if not certificate and not key:
        return NotThere("WATCHWORD_CLIENT_CERT and WATCHWORD_CLIENT_KEY are not set")
    if not certificate or not key:
        raise LoginMisconfigured("credentials.incomplete", detail=f"{' and '.join(_CERTIFICATE)} go together: set both")
    from watchword.client.tls_client_auth import TlsClientAuth

    client_id, issuer, named = _who_and_where(environ, "WATCHWORD_CLIENT_CERT is set")
    with blaming(", ".join(_CERTIFICATE)):
        client = TlsClientAuth(client_id, certificate, key)
    with blaming(named):
        return Found(issuer=check_issuer(issuer), client=client)


def look_for_token(environ: Environ) -> Found | NotThere:
    """Nothing is looked for that was not named: no well-known file, no address."""
    file, platform = environ.get(TOKEN_FILE, ""), environ.get(TOKEN_FROM, "")
    if not file and not platform:
        return NotThere(f"{TOKEN_FILE} and {TOKEN_FROM} are not set")
    if file and platform:
        raise LoginMisconfigured(
            "credentials.incomplete", detail=f"{TOKEN_FILE} and {TOKEN_FROM} are both set: keep one"
        )
    if platform and platform != GITHUB_ACTIONS:
        raise LoginMisconfigured("credentials.unsupported", detail=f"{TOKEN_FROM} is {GITHUB_ACTIONS}, or not set")
    issuer, named = _where(environ)
    if not issuer:
        raise LoginMisconfigured(
            "credentials.incomplete", detail=f"{file or platform} is named, but {named} is not set"
        )
    client_id = environ.get("WATCHWORD_CLIENT_ID", "")
    client = FederatedToken(Path(file), client_id) if file else GitHubActionsToken(environ, client_id)
    with blaming(named):
        return Found(issuer=check_issuer(issuer), client=client)


def _who_and_where(environ: Environ, set_already: str) -> tuple[str, str, str]:
    """Return client_id and issuer, and the name of the variable that the latter is from."""
    issuer, named = _where(environ)
    client_id = environ.get("WATCHWORD_CLIENT_ID", "")
    for value, name in ((client_id, "WATCHWORD_CLIENT_ID"), (issuer, named)):
        if not value:
            raise LoginMisconfigured("credentials.incomplete", detail=f"{set_already}, but {name} is not: set it, too")
    return client_id, issuer, named


def _where(environ: Environ) -> tuple[str, str]:
    """Return the issuer, and the name of the variable that it is from."""
    named = (
        "WATCHWORD_ISSUER" if environ.get("WATCHWORD_ISSUER") or not environ.get("WATCHWORD_URL") else "WATCHWORD_URL"
    )
    return environ.get(named, ""), named


@contextlib.contextmanager
def blaming(place: str) -> Iterator[None]:
    """Say where that stands which cannot be used."""
    try:
        yield
    except LoginMisconfigured as error:
        raise LoginMisconfigured(error.reason, detail=f"{place}: {error.detail}") from None


_UNSUPPORTED: Final[Mapping[str, str]] = {
    "WATCHWORD_API_KEY": "an API key",
    "WATCHWORD_API_KEY_FILE": "an API key",
}


def look_for_unsupported(*announcements: str) -> Callable[[Environ], Found | NotThere]:
    """What a later release will be able to use: said, not passed over."""

    def look(environ: Environ) -> Found | NotThere:
        for name in announcements:
            if environ.get(name):
                raise LoginMisconfigured(
                    "credentials.unsupported",
                    detail=f"{name} is set, but this release cannot log in with {_UNSUPPORTED[name]}: unset it, or use a "
                    "client secret",
                )
        return NotThere(f"{' and '.join(announcements)} {'is' if len(announcements) == 1 else 'are'} not set")

    return look
