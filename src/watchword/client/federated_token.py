"""The token of an outside issuer as the credential: RFC 7523 §2.1. There is no secret of ours, and nothing is kept.

A token is taken anew for each attempt: platforms replace the file, or give a new token, whenever they like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from watchword.client.credentials import ClientCredential, Sealed
from watchword.client.errors import LoginMisconfigured, LoginUnavailable
from watchword.client.private_file import read_private_file
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol import names
from watchword.protocol.client_secret import redact

Supplier = str | Path | Callable[[str], str]
"""A file that is read each time, or what gives a token for an audience: this server's issuer."""

MAX_TOKEN: Final = 16_384
WRITABLE_BY_OTHERS: Final = 0o022
"""The platform writes the file, and may let others read it; nobody else may write it."""

GITHUB_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 -- a variable's name

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, repr=False)
class FederatedToken(Sealed):
    """A workload's own token, from a file or from a function; with ``client_id`` where several agents trust its issuer."""

    supplier: Supplier = field(repr=False)
    client_id: str = ""

    def __repr__(self) -> str:
        where = self.supplier if isinstance(self.supplier, (str, Path)) else "a function"
        return f"FederatedToken({str(where)!r}, client_id={self.client_id!r})"

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Make the form that of the jwt-bearer grant.

        Raises:
            LoginMisconfigured: federated.token, file.*
        """
        form[names.GRANT_TYPE] = names.JWT_BEARER
        form[names.ASSERTION] = _check(self._take(issuer))
        if self.client_id:
            form[names.CLIENT_ID] = self.client_id

    def hide(self, text: str) -> str:
        """Return the text without what looks like a token."""
        return redact(text)

    def _take(self, audience: str) -> str:
        if isinstance(self.supplier, (str, Path)):
            return read_private_file(Path(self.supplier), forbidden=WRITABLE_BY_OTHERS)
        return self.supplier(audience)


@dataclass(frozen=True, slots=True, repr=False)
class GitHubActionsToken(Sealed):
    """The token of the GitHub Actions job this runs in, asked of GitHub for this server before each attempt.

    The job needs ``permissions: id-token: write``, which sets the two variables that are read here, and nowhere else.
    """

    environ: Mapping[str, str] = field(repr=False)
    client_id: str = ""

    def __repr__(self) -> str:
        return f"GitHubActionsToken(client_id={self.client_id!r})"

    def token_request(self, issuer: str) -> HttpRequest:
        """Return what to ask GitHub.

        Raises:
            LoginMisconfigured: federated.github
        """
        url, bearer = self.environ.get(GITHUB_URL, ""), self.environ.get(GITHUB_TOKEN, "")
        if not url or not bearer:
            detail = f"{GITHUB_URL} and {GITHUB_TOKEN} are not set: give the job permissions: id-token: write"
            raise LoginMisconfigured("federated.github", detail=detail)
        separator = "&" if "?" in url else "?"
        return HttpRequest(
            method="GET",
            url=f"{url}{separator}audience={quote(issuer, safe='')}",
            headers={"authorization": f"Bearer {bearer}", "accept": "application/json"},
        )

    def with_token(self, answer: HttpResponse) -> ClientCredential:
        """Return the credential for one attempt.

        Raises:
            LoginUnavailable: federated.github
        """
        try:
            value = json.loads(answer.body)["value"] if answer.status == 200 else None
        except (ValueError, KeyError, TypeError):
            value = None
        if not isinstance(value, str):
            raise LoginUnavailable("federated.github", detail=f"GitHub gave no token (status {answer.status})")
        return FederatedToken(lambda _: value, self.client_id)

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Do nothing by itself: ``with_token`` gives the credential of an attempt."""
        raise TypeError("ask for the token first")

    def hide(self, text: str) -> str:
        """Return the text without what looks like a token."""
        return redact(text)


def _check(text: str) -> str:
    token = text.strip()
    if len(token) > MAX_TOKEN or not _COMPACT.fullmatch(token):
        raise LoginMisconfigured("federated.token", detail="what was given is no token: three parts with dots between")
    return token
