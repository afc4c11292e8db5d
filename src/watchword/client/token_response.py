"""What a token endpoint answers, believed as little as possible. RFC 6749 §5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.client.cache import LONGEST_LIFE, Token, build_token
from watchword.client.credentials import ClientCredential
from watchword.client.errors import LoginError, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.ports.http import HttpResponse
from watchword.protocol import names
from watchword.protocol.strict_json import parse_object

MAX_RESPONSE: Final = 1_048_576
"""Bytes of an answer that is read."""

_MAX_TOKEN = 65_536
_MAX_CODE = 100
_MAX_DESCRIPTION = 500
_MAX_DIGITS = 12
_MISSING = frozenset({404, 405, 410})


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a request was sent, by our clock, how far the server's clock is ahead, and a number in [0, 1) for spreading."""

    sent_at: datetime
    offset: timedelta
    jitter: float


def parse_token_response(
    response: HttpResponse,
    *,
    asked: tuple[str, ...],
    client: ClientCredential,
    moment: Moment,
    token_type: str = names.BEARER,
) -> Token:
    """Return the token of an answer. Unknown members are ignored; ``token_type`` is read in any case (RFC 6749 §5.1).

    It must be the one that was asked for: a bearer token in place of a bound one is not used (RFC 9449 §5).

    ``expires_in`` that is missing, negative or no number of seconds is no promise: the ``exp`` of an ``at+jwt`` counts
    instead, else the token is good for this once. Scopes that are not named are those that were asked for.

    Raises:
        LoginRefused: the server said no.
        LoginUnavailable: response.status, response.missing (nothing is at the endpoint), response.too_large, response.form,
            response.access_token.
        LoginMisconfigured: response.token_type.
    """
    if response.status != 200:
        raise parse_refusal(response, client=client)
    document = _parse_document(response)
    value = document.get(names.ACCESS_TOKEN)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TOKEN or not _is_visible_ascii(value):
        raise LoginUnavailable("response.access_token", detail="the answer has no usable access_token")
    answered = document.get(names.TOKEN_TYPE)
    if not isinstance(answered, str) or answered.lower() != token_type.lower():
        raise LoginMisconfigured(
            "response.token_type",
            detail=f"the server issues tokens of another type than {token_type}; the token was not used",
        )
    life = _life(document.get(names.EXPIRES_IN))
    if life is None:
        life = _life_by_claim(value, moment)
    scope = document.get(names.SCOPE)
    scopes = tuple(scope.split()) if isinstance(scope, str) else asked
    return build_token(value, scopes, sent_at=moment.sent_at, life=life, jitter=moment.jitter)


def parse_refusal(response: HttpResponse, *, client: ClientCredential) -> LoginError:
    """Return the error of an answer that is none of success: RFC 6749 §5.2, or something that only looks like HTTP."""
    try:
        document = _parse_document(response)
    except LoginUnavailable:
        document = {}
    error = document.get(names.ERROR)
    if not 400 <= response.status < 500 or not isinstance(error, str) or not _is_visible_ascii(error):
        return LoginUnavailable(
            "response.missing" if response.status in _MISSING else "response.status",
            detail=f"the token endpoint answered status {response.status} without an OAuth error",
        )
    description = document.get(names.ERROR_DESCRIPTION)
    return LoginRefused(
        _quote(error, client)[:_MAX_CODE],
        description=_quote(description, client) if isinstance(description, str) else "",
        status=response.status,
        request_id=_quote(response.headers.get("x-request-id", ""), client),
    )


def _parse_document(response: HttpResponse) -> dict[str, object]:
    if len(response.body) > MAX_RESPONSE:
        raise LoginUnavailable("response.too_large", detail="the answer is larger than 1 MiB and was not read")
    try:
        return parse_object(response.body)
    except ValueError:
        pass
    raise LoginUnavailable("response.form", detail="the answer of the token endpoint is not a JSON object")


def _life(expires_in: object) -> timedelta | None:
    """Return a number of seconds, of digits in a string too, as some servers send it; nothing for anything else."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = int(expires_in[:_MAX_DIGITS])
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not 0 <= expires_in < math.inf:
        return None
    return timedelta(seconds=min(expires_in, LONGEST_LIFE.total_seconds()))


def _life_by_claim(value: str, moment: Moment) -> timedelta:
    """Return what an RFC 9068 token says of its own life. Not verified: it only decides how long *we* keep it."""
    from watchword.protocol import jose

    try:
        token = jose.parse_compact(value, typ=names.TYP_ACCESS_TOKEN)
        expires = datetime.fromtimestamp(jose.numeric_date(parse_object(token.payload).get(names.EXP)), UTC)
    except (jose.InvalidJws, ValueError, OverflowError, OSError):
        return timedelta(0)
    return (expires - moment.sent_at) - moment.offset  # in this order: a moment after the year 9999 there is not


def _is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _quote(text: str, client: ClientCredential) -> str:
    """Return what a server said: one line, hidden what is secret, and only then cut, or a part of it would be left."""
    return client.hide("".join(filter(str.isprintable, text)))[:_MAX_DESCRIPTION]
