"""Why there is no token, and whether trying again can help.

    LoginError              retry: Never | After(delay)
    ├── LoginRefused        the authorization server said no: error, description, status, request_id
    ├── LoginUnavailable    no usable answer came; what is cached stays good until it expires
    └── LoginMisconfigured  something here must be changed first: a setting, a profile, an issuer, a use

Every one carries a stable ``reason`` and says in ``str()`` what to do. None carries a request, a secret or a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from watchword.errors import WatchwordError


@dataclass(frozen=True, slots=True)
class Never:
    """The same request will be refused again."""


@dataclass(frozen=True, slots=True)
class After:
    """The same request may succeed after ``delay``."""

    delay: timedelta


Retry = Never | After
NEVER = Never()


class LoginError(WatchwordError):
    """No token. ``retry`` says whether the same call can succeed later."""

    def __init__(self, reason: str, *, detail: str = "", retry: Retry = NEVER) -> None:
        super().__init__(reason, detail=detail)
        self.retry = retry


class LoginRefused(LoginError):
    """The authorization server refused: RFC 6749 §5.2. ``reason`` is ``refused.`` and the error code.

    ``request_id`` is the server's name for this request, where it gave one: its operator finds the cause under it.
    """

    def __init__(self, error: str, *, description: str = "", status: int = 400, request_id: str = "") -> None:
        super().__init__(f"refused.{error}", detail=description)
        self.error = error
        self.description = description
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        said = f"{self.error}: {self.description}" if self.description else self.error
        named = f", request {self.request_id}" if self.request_id else ""
        return f"{said} (status {self.status}{named})"


class LoginUnavailable(LoginError):
    """No usable answer: not reachable, too slow, overloaded, or not an answer of a token endpoint."""


class LoginMisconfigured(LoginError):
    """Cannot work as it is set up; ``detail`` says what to change."""
