"""Whether a token that is good in itself has been taken back: asked of whatever the verifier was given to know it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from watchword.protocol.access_token import AccessToken
from watchword.resource.steps import Steps

EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
LATEST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A token is not revoked: known from ``begins`` and before ``ends``, as long as the watch has the same ``stamp``.

    ``scopes`` are those it still has, where that is known.
    """

    begins: datetime = EARLIEST
    ends: datetime = LATEST
    stamp: int = 0
    scopes: frozenset[str] | None = None


class Watch(Protocol):
    """Knows what is revoked. ``stamp`` changes with everything that may change a verdict."""

    @property
    def issuer(self) -> str:
        """Whose tokens it knows about."""
        ...

    @property
    def stamp(self) -> int:
        """Read before a verdict is asked for, and compared whenever one is used again."""
        ...

    def confirm(self, token: str, checked: AccessToken, kid: str) -> Steps[Standing]:
        """Return how long the token stands; ``kid`` is the key that signed it.

        Raises:
            InvalidToken: token.revoked.
            VerifierUnavailable: it cannot be known now.
        """
        ...


class Unwatched:
    """Nothing is known of revocations: a token is good until it expires."""

    issuer: Final = ""
    stamp: Final = 0

    def confirm(self, token: str, checked: AccessToken, kid: str) -> Steps[Standing]:  # noqa: ARG002 -- the protocol's shape
        """Return that it stands."""
        yield from ()
        return ALWAYS


ALWAYS: Final = Standing()
