"""What an operator may write: names, free text, labels, scopes, times. Each check returns the value or refuses it."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from watchword.errors import Invalid, OAuthError, PreconditionFailed
from watchword.ports.agents import Conditions
from watchword.protocol import names
from watchword.protocol.client_secret import redact
from watchword.protocol.resource_indicators import check_identifier as check_target
from watchword.protocol.scope import MAX_SCOPES, check_scope_name
from watchword.server.key_schedule import LONGEST_LIFETIME

MAX_TEXT: Final = 500
MAX_LABELS: Final = 32
MAX_LABEL_VALUE: Final = 200
MAX_RESOURCE_SCOPES: Final = 500
MAX_NETWORKS: Final = 50
MAX_LIFETIME: Final = LONGEST_LIFETIME
NAME_PATTERN: Final = r"[a-z0-9][a-z0-9._-]{0,62}"

RESERVED_LABELS: Final = frozenset(
    {
        *(names.ISS, names.SUB, names.AUD, names.EXP, names.NBF, names.IAT, names.JTI, names.CNF),
        *(names.ALG, names.KID, names.TYP, names.SCOPE, names.CLIENT_ID, names.RESOURCE, names.AUDIENCE),
        *("act", "may_act", "azp", "auth_time", "acr", "amr", "roles", "groups", "entitlements", "status"),
        *("authorization_details", "token_type", "active", "username", "scp", "client_secret"),
    }
)
"""Names with a meaning in tokens (RFC 7519 §4.1, RFC 8693 §4, RFC 9068 §2.2): a label must never be taken for one."""

_NAME = re.compile(NAME_PATTERN)
_HOURS = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_name(text: str, noun: str) -> str:
    """Return a name of an agent, a resource or an operator.

    Raises:
        Invalid: <noun>.name
    """
    if not _NAME.fullmatch(text):
        sentence = (
            "A name has 1 to 63 characters of a-z, 0-9, dot, underscore and hyphen, and begins with a letter or digit."
        )
        raise Invalid(f"{noun}.name", detail=sentence)
    return text


def check_text(text: str, member: str, *, limit: int = MAX_TEXT) -> str:
    """Return free text that shows as what it is: no control, invisible or direction-changing characters, no secret.

    Raises:
        Invalid: text.length, text.character, text.secret
    """
    if len(text) > limit:
        raise Invalid("text.length", detail=f"{member} has more than {limit} characters.")
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise Invalid("text.character", detail=f"{member} has a control, invisible or direction-changing character.")
    _refuse_secret(text, member)
    return text


def _refuse_secret(text: str, member: str) -> None:
    if redact(text) != text:
        raise Invalid(
            "text.secret", detail=f"{member} looks like a secret or a token. Do not store it here; revoke it."
        )


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels whose names cannot be taken for claims.

    Raises:
        Invalid: label.count, label.name, label.reserved, text.*
    """
    if len(labels) > MAX_LABELS:
        raise Invalid("label.count", detail=f"At most {MAX_LABELS} labels are kept.")
    for name, value in labels.items():
        check_name(name, "label")
        if name in RESERVED_LABELS:
            raise Invalid("label.reserved", detail="A label's name is the name of a claim or of an OAuth parameter.")
        check_text(value, "A label's value", limit=MAX_LABEL_VALUE)
    return dict(labels)


def check_scopes(scopes: Iterable[str], *, limit: int = MAX_SCOPES) -> tuple[str, ...]:
    """Return scope names in the order given. RFC 6749 §3.3.

    Raises:
        Invalid: scope.none, scope.too_many, scope.syntax, scope.duplicate, text.secret
    """
    given = tuple(scopes)
    if not given:
        raise Invalid("scope.none", detail="At least one scope is needed.")
    if len(given) > limit:
        raise Invalid("scope.too_many", detail=f"At most {limit} scopes are kept here.")
    try:
        checked = tuple(map(check_scope_name, given))
    except OAuthError as error:
        sentence = "A scope is printable ASCII without space, quotation mark and backslash."
        raise Invalid(error.reason, detail=sentence) from error
    if len(set(checked)) != len(checked):
        raise Invalid("scope.duplicate", detail="A scope is named twice.")
    _refuse_secret(" ".join(checked), "A scope")
    return checked


def check_identifier(identifier: str, issuer: str) -> str:
    """Return what may stand in ``aud``: a plain name or an absolute URI, but nothing that means this server.

    Raises:
        Invalid: target.*, resource.identifier_reserved, text.secret
    """
    try:
        checked = check_target(identifier)
    except OAuthError as error:
        sentence = "The identifier is a plain name such as my-api, or an absolute https URI without fragment."
        raise Invalid(error.reason, detail=sentence) from error
    if checked.rstrip("/") == issuer or checked.startswith((issuer + "/oauth/", issuer + names.PATH_ADMIN)):
        raise Invalid("resource.identifier_reserved", detail="This identifier means the authorization server itself.")
    _refuse_secret(checked, "The identifier")
    return checked


def check_lifetime(lifetime: timedelta, reason: str) -> timedelta:
    """Return a lifetime of whole seconds, 1 to 3600.

    Raises:
        Invalid: the reason given
    """
    if not timedelta(seconds=1) <= lifetime <= MAX_LIFETIME or lifetime.microseconds:
        raise Invalid(reason, detail="A lifetime is 1 to 3600 whole seconds.")
    return lifetime


def check_moment(moment: datetime | None, reason: str) -> datetime | None:
    """Return a moment in UTC.

    Raises:
        Invalid: the reason given, when it has no time zone
    """
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise Invalid(reason, detail="A time needs its zone, such as Z.")
    return moment.astimezone(UTC)


def check_expiry(expires_at: datetime | None, *, now: datetime, noun: str) -> datetime | None:
    """Return an end that is still to come.

    Raises:
        Invalid: <noun>.expires_at
    """
    moment = check_moment(expires_at, f"{noun}.expires_at")
    if moment is not None and moment <= now:
        raise Invalid(f"{noun}.expires_at", detail="expires_at is not in the future.")
    return moment


def check_conditions(conditions: Conditions) -> Conditions:
    """Return conditions that can be judged, networks in canonical form.

    Raises:
        Invalid: conditions.period, conditions.networks, conditions.hours, conditions.maximum_lifetime
    """
    begin = check_moment(conditions.not_before, "conditions.period")
    end = check_moment(conditions.not_after, "conditions.period")
    if begin is not None and end is not None and begin >= end:
        raise Invalid("conditions.period", detail="not_before is not before not_after.")
    if conditions.hours and not _is_period(conditions.hours):
        sentence = "hours is HH:MM-HH:MM in UTC, such as 08:00-18:00; begin and end differ."
        raise Invalid("conditions.hours", detail=sentence)
    if conditions.maximum_lifetime is not None:
        check_lifetime(conditions.maximum_lifetime, "conditions.maximum_lifetime")
    if len(conditions.source_networks) > MAX_NETWORKS:
        raise Invalid("conditions.networks", detail=f"At most {MAX_NETWORKS} networks are kept.")
    return Conditions(
        not_before=begin,
        not_after=end,
        source_networks=tuple(map(_check_network, conditions.source_networks)),
        hours=conditions.hours,
        maximum_lifetime=conditions.maximum_lifetime,
        require_sender_constraint=conditions.require_sender_constraint,
    )


def check_version(stored: int, expected: frozenset[int] | None) -> None:
    """Pass if the stored version is one the operator has seen (``If-Match``, RFC 9110 §13.1.1); ``None`` asks for nothing.

    Raises:
        PreconditionFailed: version.changed
    """
    if expected is not None and stored not in expected:
        raise PreconditionFailed(
            "version.changed", detail="It was changed since you read it. Read it again and repeat."
        )


def _is_period(hours: str) -> bool:
    begin, _, end = hours.partition("-")
    return _HOURS.fullmatch(hours) is not None and begin != end


def _check_network(text: str) -> str:
    """Return a CIDR in canonical form. An IPv4 network in IPv6 clothes is refused: addresses are compared as IPv4."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        network = None
    is_mapped = isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED)
    if network is None or "%" in text or is_mapped:
        sentence = "A source network is a CIDR such as 10.0.0.0/8 or 2001:db8::/32, without host bits."
        raise Invalid("conditions.networks", detail=sentence)
    return str(network)
