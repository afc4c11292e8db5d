"""What a server and a resource say of themselves: RFC 8414, RFC 9728. Both ends: building and believing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from watchword.errors import WatchwordError
from watchword.protocol.metadata_members import RESOURCE_MEMBERS, SERVER_MEMBERS
from watchword.protocol.url import InvalidUrl, check_secure_url, parse_url

_OWN_PREFIX = "watchword_"
_JWT_METHODS = frozenset({"private_key_jwt", "client_secret_jwt"})
_WELL_KNOWN = "/.well-known/"


class InvalidMetadata(WatchwordError):
    """A document, or an issuer, that must not be used.

    Reasons: issuer.syntax, issuer.insecure, metadata.form, metadata.issuer, metadata.resource, metadata.endpoint,
    metadata.member, metadata.algorithms.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """What a client may rely on after ``parse_server_metadata``. Absent lists have the defaults of RFC 8414 §2."""

    issuer: str
    token_endpoint: str
    jwks_uri: str | None = None
    introspection_endpoint: str | None = None
    revocation_endpoint: str | None = None
    grant_types_supported: tuple[str, ...] = ("authorization_code", "implicit")
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    token_endpoint_auth_signing_alg_values_supported: tuple[str, ...] = ()
    dpop_signing_alg_values_supported: tuple[str, ...] = ()
    scopes_supported: tuple[str, ...] = ()
    mtls_endpoint_aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def mtls_token_endpoint(self) -> str:
        """Where a client with a certificate asks for tokens. RFC 8705 §5."""
        return self.mtls_endpoint_aliases.get("token_endpoint", self.token_endpoint)

    watchword_challenge_endpoint: str | None = None
    watchword_events_endpoint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceMetadata:
    """What a client may rely on after ``parse_resource_metadata``: RFC 9728 §2."""

    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()
    bearer_methods_supported: tuple[str, ...] = ()
    dpop_bound_access_tokens_required: bool = False


def check_issuer(text: str, *, allow_loopback_http: bool) -> str:
    """Return the issuer if it is a URL that means the same to every library: https, no query, no trailing slash.

    RFC 8414 §2. Plain http is for development, and only to a loopback host.

    Raises:
        InvalidMetadata: issuer.syntax, issuer.insecure.
    """
    try:
        url = check_secure_url(text, allow_loopback_http=allow_loopback_http)
    except InvalidUrl as error:
        reason = "issuer.insecure" if error.reason == "url.insecure" else "issuer.syntax"
        raise InvalidMetadata(reason) from None
    if url.query is not None or text.endswith("/"):
        raise InvalidMetadata("issuer.syntax", detail="no query and no trailing slash")
    return text


def well_known_url(issuer: str, suffix: str) -> str:
    """Return where a document stands: the well-known part is inserted between host and path (RFC 8414 §3, RFC 9728 §3).

    ``suffix`` is a registered name such as ``oauth-authorization-server``, with or without ``/.well-known/`` before it.

    Raises:
        InvalidMetadata: issuer.syntax.
    """
    try:
        url = parse_url(issuer)
    except InvalidUrl:
        raise InvalidMetadata("issuer.syntax") from None
    query = "" if url.query is None else f"?{url.query}"
    path = "" if url.path == "/" else url.path
    return f"{url.scheme}://{url.authority}{_WELL_KNOWN}{suffix.removeprefix(_WELL_KNOWN)}{path}{query}"


def build_server_metadata(**facts: object) -> dict[str, object]:
    """Return the RFC 8414 document of these members; what is empty or false is left out, so no empty list is published.

    ``response_types_supported`` is ``["none"]`` unless given.

    Raises:
        InvalidMetadata: metadata.member (not a registered name, or a required one is missing), metadata.endpoint,
            metadata.algorithms (a JWT method without algorithms, or ``none`` among them).
    """
    document = _build({"response_types_supported": ["none"], **facts}, SERVER_MEMBERS)
    if not {"issuer", "token_endpoint"} <= document.keys():
        raise InvalidMetadata("metadata.member", detail="issuer and token_endpoint are required")
    _check_endpoints(document, issuer=str(document["issuer"]))
    _check_algorithms(document)
    return document


def parse_server_metadata(document: object, *, issuer: str) -> ServerMetadata:
    """Return what this issuer says of itself, if it is this issuer: ``issuer`` is compared character by character.

    RFC 8414 §3.3. Endpoints are https; plain http to loopback only where the issuer itself is that. Members that are
    not known are ignored.

    Raises:
        InvalidMetadata: metadata.form, metadata.issuer, metadata.endpoint.
    """
    members = _object(document)
    if members.get("issuer") != issuer:
        raise InvalidMetadata("metadata.issuer")
    _check_endpoints(members, issuer=issuer)
    return ServerMetadata(
        issuer=issuer,
        token_endpoint=_required_text(members, "token_endpoint"),
        jwks_uri=_text(members, "jwks_uri"),
        introspection_endpoint=_text(members, "introspection_endpoint"),
        revocation_endpoint=_text(members, "revocation_endpoint"),
        grant_types_supported=_texts(members, "grant_types_supported", ("authorization_code", "implicit")),
        token_endpoint_auth_methods_supported=_texts(
            members, "token_endpoint_auth_methods_supported", ("client_secret_basic",)
        ),
        token_endpoint_auth_signing_alg_values_supported=_texts(
            members, "token_endpoint_auth_signing_alg_values_supported"
        ),
        dpop_signing_alg_values_supported=_texts(members, "dpop_signing_alg_values_supported"),
        scopes_supported=_texts(members, "scopes_supported"),
        mtls_endpoint_aliases=_aliases(members),
        watchword_challenge_endpoint=_text(members, "watchword_challenge_endpoint"),
        watchword_events_endpoint=_text(members, "watchword_events_endpoint"),
    )


def build_resource_metadata(
    *, resource: str, authorization_servers: Sequence[str], **facts: object
) -> dict[str, object]:
    """Return the RFC 9728 document of a protected resource; tokens are taken from the header only.

    Raises:
        InvalidMetadata: metadata.member, metadata.resource, metadata.endpoint (no server, or not a usable issuer).
    """
    for server in authorization_servers:
        _check_endpoint(server, allow_loopback_http=True)
    if not authorization_servers:
        raise InvalidMetadata("metadata.endpoint", detail="an authorization server is required")
    _check_resource(resource)
    required = {"resource": resource, "authorization_servers": authorization_servers}
    return _build({"bearer_methods_supported": ["header"], **facts, **required}, RESOURCE_MEMBERS)


def parse_resource_metadata(document: object, *, resource: str) -> ResourceMetadata:
    """Return what a protected resource says of itself, if it is the one that was asked (RFC 9728 §3.3).

    Whether its authorization servers are trusted is not judged here.

    Raises:
        InvalidMetadata: metadata.form, metadata.resource, metadata.endpoint.
    """
    members = _object(document)
    if members.get("resource") != resource:
        raise InvalidMetadata("metadata.resource")
    servers = _texts(members, "authorization_servers")
    for server in servers:
        _check_endpoint(server, allow_loopback_http=_is_plain_http(resource))
    required = members.get("dpop_bound_access_tokens_required", False)
    if not isinstance(required, bool):
        raise InvalidMetadata("metadata.form", detail="dpop_bound_access_tokens_required")
    return ResourceMetadata(
        resource=resource,
        authorization_servers=servers,
        scopes_supported=_texts(members, "scopes_supported"),
        bearer_methods_supported=_texts(members, "bearer_methods_supported"),
        dpop_bound_access_tokens_required=required,
    )


def _build(facts: Mapping[str, object], order: Sequence[str]) -> dict[str, object]:
    unknown = [name for name in facts if name not in order and not name.startswith(_OWN_PREFIX)]
    if unknown:
        raise InvalidMetadata("metadata.member", detail=" ".join(sorted(unknown)))
    own = sorted(name for name in facts if name.startswith(_OWN_PREFIX))
    return {name: _jsonable(facts[name]) for name in (*order, *own) if facts.get(name)}


def _jsonable(value: object) -> object:
    if isinstance(value, (tuple, set, frozenset)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _check_endpoints(members: Mapping[str, object], *, issuer: str) -> None:
    """Every URL a client would send something to must be as safe as the issuer's own."""
    allow_loopback_http = _is_plain_http(issuer)
    endpoints = {name: value for name, value in members.items() if name == "jwks_uri" or name.endswith("_endpoint")}
    for value in (*endpoints.values(), *_aliases(members).values()):
        _check_endpoint(value, allow_loopback_http=allow_loopback_http)


def _check_endpoint(value: object, *, allow_loopback_http: bool) -> None:
    if not isinstance(value, str):
        raise InvalidMetadata("metadata.form", detail="an endpoint is not a string")
    try:
        check_secure_url(value, allow_loopback_http=allow_loopback_http)
    except InvalidUrl as error:
        raise InvalidMetadata("metadata.endpoint", detail=error.reason) from None


def _check_resource(resource: str) -> None:
    try:
        check_secure_url(resource, allow_loopback_http=True)
    except InvalidUrl as error:
        raise InvalidMetadata("metadata.resource", detail=error.reason) from None


def _check_algorithms(document: Mapping[str, object]) -> None:
    methods = _texts(document, "token_endpoint_auth_methods_supported")
    if not _JWT_METHODS.isdisjoint(methods) and not document.get("token_endpoint_auth_signing_alg_values_supported"):
        raise InvalidMetadata("metadata.algorithms", detail="a JWT method needs its algorithms")
    for name in document:
        if name.endswith("alg_values_supported") and "none" in _texts(document, name):
            raise InvalidMetadata("metadata.algorithms", detail=name)


def _is_plain_http(url: str) -> bool:
    return url.startswith("http:")


def _object(document: object) -> Mapping[str, object]:
    if not isinstance(document, Mapping):
        raise InvalidMetadata("metadata.form", detail="not an object")
    return document


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise InvalidMetadata("metadata.form", detail=name)


def _required_text(members: Mapping[str, object], name: str) -> str:
    value = _text(members, name)
    if not value:
        raise InvalidMetadata("metadata.form", detail=name)
    return value


def _texts(members: Mapping[str, object], name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    value = members.get(name)
    if value is None:
        return default
    if not isinstance(value, list):
        raise InvalidMetadata("metadata.form", detail=name)
    texts = tuple(item for item in value if isinstance(item, str))
    if len(texts) != len(value):
        raise InvalidMetadata("metadata.form", detail=name)
    return texts


def _aliases(members: Mapping[str, object]) -> Mapping[str, str]:
    value = members.get("mtls_endpoint_aliases", {})
    if not isinstance(value, Mapping):
        raise InvalidMetadata("metadata.form", detail="mtls_endpoint_aliases")
    aliases = {key: url for key, url in value.items() if isinstance(key, str) and isinstance(url, str)}
    if len(aliases) != len(value):
        raise InvalidMetadata("metadata.form", detail="mtls_endpoint_aliases")
    return aliases
