"""Credentials for which somebody has to be asked first: the server, or their own platform."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from watchword.client.credentials import ClientCredential
from watchword.ports.http import HttpRequest, HttpResponse


@runtime_checkable
class NeedsChallenge(ClientCredential, Protocol):
    """A credential that asks the server before each attempt."""

    def challenge_form(self) -> dict[str, str]:
        """Return what to ask for."""
        ...

    def with_challenge(self, answer: HttpResponse, *, issuer: str) -> ClientCredential:
        """Return the credential for one attempt.

        Raises:
            LoginUnavailable: challenge.form.
        """
        ...


@runtime_checkable
class NeedsToken(ClientCredential, Protocol):
    """A credential that asks its own platform before each attempt."""

    def token_request(self, issuer: str) -> HttpRequest:
        """Return what to ask.

        Raises:
            LoginMisconfigured
        """
        ...

    def with_token(self, answer: HttpResponse) -> ClientCredential:
        """Return the credential for one attempt.

        Raises:
            LoginUnavailable
        """
        ...
