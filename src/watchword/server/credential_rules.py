"""How old a secret may become, and when it is said that a credential ends: what holds for all agents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from watchword.ports.agents import Credential, CredentialKind


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRules:
    """``warnings``: so long before its end it is said that a credential ends. A secret older than ``max_age`` is reported, and
    refused if ``refuses_old``. The age counts from when it was made, used or not."""

    warnings: tuple[timedelta, ...] = (timedelta(days=14), timedelta(days=3), timedelta(days=1))
    max_age: timedelta | None = None
    refuses_old: bool = False

    def is_old(self, credential: Credential, now: datetime) -> bool:
        """Tell whether it is a secret, and older than secrets are to become."""
        is_secret = credential.kind is CredentialKind.CLIENT_SECRET
        return self.max_age is not None and is_secret and now - credential.created_at > self.max_age

    def refuses(self, credential: Credential, now: datetime) -> bool:
        """Tell whether it opens nothing any more because of its age."""
        return self.refuses_old and self.is_old(credential, now)


NO_RULES = CredentialRules()
