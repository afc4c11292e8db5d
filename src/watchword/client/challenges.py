"""Credentials that the server has to be asked for something first."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from watchword.client.credentials import ClientCredential
from watchword.ports.http import HttpResponse


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
