"""What can go wrong, in three families.

    WatchwordError
    ├── OAuthError          the request is refused; one class per registered error code
    │   ├── InvalidRequest                  RFC 6749 §5.2, RFC 6750 §3.1
    │   │   ├── MethodNotAllowed            the same code under another status
    │   │   └── NotFound, Misdirected, ContentTooLarge, UnsupportedContentEncoding
    │   ├── RateLimited                     RFC 6585 §4
    │   ├── InvalidClient                   RFC 6749 §5.2
    │   ├── InvalidGrant
    │   │   └── InvalidAssertion            RFC 7523 §3.1
    │   ├── UnauthorizedClient
    │   ├── UnsupportedGrantType
    │   ├── UnsupportedResponseType         RFC 6749 §4.1.2.1
    │   ├── UnsupportedTokenType            RFC 7009 §2.2.1
    │   ├── InvalidScope
    │   ├── InvalidTarget                   RFC 8707 §2
    │   ├── InvalidToken                    RFC 6750 §3.1
    │   ├── InvalidDpopProof                RFC 9449 §5 and §7.1
    │   │   └── UseDpopNonce                RFC 9449 §8 and §9
    │   └── InsufficientScope
    ├── Problem             an operator's request is refused (RFC 9457)
    │   ├── Unauthenticated, Forbidden, Missing, Conflict, PreconditionFailed, Invalid
    └── Fault               ours: the request may be right, we cannot answer it now
        ├── StoreUnavailable, Superseded, ReplayUnavailable, KeysUnavailable, CacheUnavailable, NoSigningKey,
        │   CustodyUnavailable, BadSettings, MasterKeyError, VerifierUnavailable, Overloaded

Every one carries a ``reason``: a stable lower-case identifier such as ``client.secret``, for audit, logs and tests.
``detail`` is private: it goes to audit and log, never to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class WatchwordError(Exception):
    """Root of all errors raised by watchword."""

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class OAuthError(WatchwordError):
    """A refusal on the wire. ``facts`` fill the public sentence of the reason (``protocol/descriptions.py``)."""

    error: ClassVar[str]
    status: ClassVar[int] = 400

    def __init__(self, reason: str, *, detail: str = "", facts: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, detail=detail)
        self.facts = dict(facts or {})


class InvalidRequest(OAuthError):
    """The request is malformed."""

    error = "invalid_request"


class MethodNotAllowed(InvalidRequest):
    """The path exists, the method does not. ``allow`` is the value of the ``Allow`` header."""

    status = 405

    def __init__(self, reason: str, *, allow: str, detail: str = "") -> None:
        super().__init__(reason, detail=detail, facts={"allow": allow})
        self.allow = allow


class NotFound(InvalidRequest):
    """Nothing is served at this path."""

    status = 404


class Misdirected(InvalidRequest):
    """The connection was made for another host than the request. RFC 9110 §15.5.20."""

    status = 421


class ContentTooLarge(InvalidRequest):
    """The body is over the limit; it was not read to its end."""

    status = 413


class UnsupportedContentEncoding(InvalidRequest):
    """The body is compressed; it was not inflated."""

    status = 415


class RateLimited(OAuthError):
    """Too many of these lately; nothing was looked at. ``retry_after`` says when the next one may come.

    Of a flood not every refusal has a record: this one has when ``is_recorded``, and then ``unrecorded`` of its kind came before
    it that have none.
    """

    error = "temporarily_unavailable"
    status = 429

    def __init__(self, reason: str, *, retry_after: timedelta, is_recorded: bool = True, unrecorded: int = 0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.is_recorded = is_recorded
        self.unrecorded = unrecorded


class InvalidClient(OAuthError):
    """The client could not be authenticated."""

    error = "invalid_client"
    status = 401


class InvalidGrant(OAuthError):
    """The grant itself (an assertion, a token to exchange) is not valid."""

    error = "invalid_grant"


class InvalidAssertion(InvalidGrant):
    """The assertion that is the grant does not say who asks: there is no client authentication beside it. RFC 7523 §3.1."""


class UnauthorizedClient(OAuthError):
    """The authenticated client may not use this grant."""

    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """This server does not know the grant."""

    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    """There is no authorization endpoint flow here."""

    error = "unsupported_response_type"


class UnsupportedTokenType(OAuthError):
    """What is to be revoked is no token that can be revoked here."""

    error = "unsupported_token_type"


class InvalidScope(OAuthError):
    """The scope is malformed, unknown, or not granted to this client."""

    error = "invalid_scope"


class InvalidTarget(OAuthError):
    """The resource is malformed, unknown, or not this client's."""

    error = "invalid_target"


class InvalidToken(OAuthError):
    """A resource server does not accept this access token."""

    error = "invalid_token"
    status = 401


class InvalidDpopProof(OAuthError):
    """The DPoP proof of a request is not one of this request. 400 of a token endpoint; a resource answers it with 401."""

    error = "invalid_dpop_proof"


class UseDpopNonce(InvalidDpopProof):
    """A proof is accepted with a nonce of this server only: ``nonce`` is one, for the next attempt."""

    error = "use_dpop_nonce"

    def __init__(self, reason: str, *, nonce: str, detail: str = "") -> None:
        super().__init__(reason, detail=detail)
        self.nonce = nonce


class InsufficientScope(OAuthError):
    """The token is good, but lacks what this request needs. ``scope`` is what would be enough."""

    error = "insufficient_scope"
    status = 403

    def __init__(self, reason: str, *, scope: tuple[str, ...], detail: str = "") -> None:
        super().__init__(reason, detail=detail, facts={"scope": " ".join(scope)})
        self.scope = scope


class Problem(WatchwordError):
    """An operator's request is refused. ``detail`` here is public: it says what to do. RFC 9457."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"


class Unauthenticated(Problem):
    """No operator's credential, or not a valid one."""

    status = 401
    title = "An operator's credential is needed"


class Forbidden(Problem):
    """The operator's role does not allow this."""

    status = 403
    title = "Your role does not allow this"


class Missing(Problem):
    """No such object, or not one this operator may see."""

    status = 404
    title = "Not found"


class Conflict(Problem):
    """The change collides with what is stored."""

    status = 409
    title = "Conflict"


class PreconditionFailed(Problem):
    """The object has changed since it was read (``If-Match``)."""

    status = 412
    title = "The object has changed"


class Invalid(Problem):
    """A value is not acceptable."""

    status = 422
    title = "A value is not acceptable"


class Fault(WatchwordError):
    """Ours: nothing is wrong with the request. Answered 503 where somebody is waiting."""


class StoreUnavailable(Fault):
    """The store cannot be read or written now; nothing was changed."""


class ReplayUnavailable(Fault):
    """The memory of what was presented before cannot be asked now, or is full: nothing is accepted."""


class KeysUnavailable(Fault):
    """The keys that somebody else publishes cannot be had now: what they would verify is not accepted."""


class Superseded(Fault):
    """What a decision was made on has changed before it could be recorded: nothing was recorded, decide anew."""


class CacheUnavailable(Fault):
    """The Redis or Valkey that this server was told to use cannot be reached, or cannot be relied on now."""


class NoSigningKey(Fault):
    """There is no usable signing key for the algorithm asked for."""


class CustodyUnavailable(Fault):
    """Who holds the signing keys cannot be asked now: slow, out of reach, throttled. Nothing is signed with another key."""


class BadSettings(Fault):
    """The configuration cannot be used; ``detail`` says what to change."""


class MasterKeyError(Fault):
    """The master key is missing, malformed, wrong, or readable by others; ``detail`` says what to do."""


class Overloaded(Fault):
    """As many requests are being worked on as may be at once."""


class VerifierUnavailable(Fault):
    """A resource server has no keys to check a token with: the answer is 503, never a guess."""
