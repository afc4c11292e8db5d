"""The public sentence for every reason: written for the person who must mend the request.

Placeholders in braces are filled from the error's ``facts``. Sentences are ASCII without quotation mark and backslash
(RFC 6749 §5.2). Reasons that arise before a client has proved who it is share ``UNAUTHENTICATED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from watchword.protocol.client_secret import redact

UNAUTHENTICATED: Final = (
    "Client authentication failed: check client_id, credential and method. The operator finds the reason in the audit "
    "trail under this request_id."
)

NOT_ACCEPTED: Final = (
    "The assertion is not accepted: check who issued it, for whom, and for how long. The operator finds the reason in the "
    "audit trail under this request_id."
)

TOLD: Final = frozenset(
    {
        "assertion.audience",
        "challenge.audience",
        "challenge.end",
        "challenge.expired",
        "challenge.purpose",
        "challenge.repeated",
        "challenge.unknown",
        "assertion.client_id",
        "assertion.dates",
        "assertion.expired",
        "assertion.issuer",
        "assertion.jti",
        "assertion.lifetime",
        "assertion.not_yet_valid",
        "assertion.repeated",
        "assertion.subject",
        "assertion.type",
        "client.concession",
        "federated.ambiguous",
        "federated.audience",
        "federated.dates",
        "federated.expired",
        "federated.jti",
        "federated.no_agent",
        "federated.not_yet_valid",
        "federated.repeated",
        "federated.too_many",
        "federated.too_old",
    }
)
"""The reasons of a failed client authentication that have a sentence of their own: they say nothing of any agent, or are given
only to who has proved the agent's key."""

DESCRIPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # form
        "form.content_type": "Send the parameters as application/x-www-form-urlencoded, in UTF-8, with one Content-Type header.",
        "form.duplicate": "The parameter {name} stands more than once: send each parameter once.",
        "form.empty": "The request has no parameters: send them in the body, form-encoded.",
        "form.encoding": "A parameter is not properly form-encoded UTF-8.",
        "form.query": "Send every parameter in the body, none in the URL. If a secret stood in the URL, have it replaced: "
        "URLs are logged on their way.",
        "form.too_large": "The body is too large: {limit} bytes at most.",
        "form.too_many": "There are too many parameters: {limit} at most.",
        # scope
        "scope.duplicate": "A scope stands more than once: name each scope once.",
        "scope.syntax": "Write scope as names with one space between them, in printable ASCII without quotation mark and "
        "backslash.",
        "scope.too_many": "Too many scopes: {limit} at most.",
        # resource_indicators
        "target.ambiguous": "It is not clear which resource the token is for: send resource or audience with one of {resources}.",
        "target.disagree": "resource and audience name different resources: send one of them, or the same in both.",
        "target.fragment": "Send resource without a fragment.",
        "target.insecure": "A resource on another machine has an https identifier.",
        "target.several": "Send one resource: a token is for exactly one. Ask again for the next.",
        "target.syntax": "Send resource as an absolute URI. A plain name goes into the parameter audience.",
        "target.unknown": "This client has no permission for such a resource. Identifiers are compared character by character.",
        # certificate_header
        "certificate_header.chain_alone": "The header names certificates beside one that is not there: the proxy in front is to "
        "set both, or neither.",
        "certificate_header.repeated": "More than one header names a certificate: the proxy in front is to replace "
        "what comes in.",
        "certificate_header.size": "The header that names a certificate is too large.",
        "certificate_header.syntax": "The header that names a certificate is not in the form that this server reads.",
        "certificate_header.two_certificates": "One certificate was shown in the TLS handshake, one in a header: show one."
        "",
        "certificate_header.untrusted": "Do not send a header that names a certificate: show the certificate in the TLS "
        "handshake. If this is the proxy in front, the operator adds it to trusted_proxies.",
        # client_assertion
        "assertion.audience": "The audience of an assertion is the issuer of this server, character by character, as one string "
        "and nothing beside it.",
        "assertion.client_id": "client_id is not the subject of the assertion: leave it out, or send the same.",
        "assertion.dates": "An assertion has exp, and nbf and iat only before that, as numbers of seconds since 1970.",
        "assertion.expired": "The assertion expired {skew} seconds ago by the clock of this server. Set the clock of the client, "
        "and sign a new assertion for each request.",
        "assertion.incomplete": "client_assertion and client_assertion_type go together: send both.",
        "assertion.issuer": "An assertion of a client is issued by the client itself: iss and sub are both the client_id.",
        "assertion.jti": "An assertion has a jti that no other one has, as a text of 256 characters at most.",
        "assertion.lifetime": "An assertion may live for {limit} seconds at most, from iat to exp.",
        "assertion.not_yet_valid": "The assertion becomes valid in {skew} seconds by the clock of this server. Set the clock of "
        "the client.",
        "assertion.repeated": "This assertion was used before: sign a new one, with a jti of its own, for each request.",
        "assertion.subject": "An assertion names the client in sub: its client_id.",
        "assertion.type": "This client is to name the type of its assertions: typ is client-authentication+jwt.",
        # challenge_login
        "challenge.audience": "The audience of an answer is the issuer of this server, character by character.",
        "rotation.credential": "Name in credential_id a secret or a key of this client, or none to replace the one shown.",
        "rotation.not_allowed": "This client may not replace its own credentials: its operator can allow own_credentials.",
        "rotation.public_key": "Send in public_key the new public key, a JWK, in place of a key; with a secret, nothing.",
        "rotation.refused": "This credential cannot be replaced now: it has ended, is being replaced already, there are too "
        "many, or the new key is not one. The operator finds the cause in the audit trail under the request id.",
        "rotation.weaker": "Authenticate with a credential that is as strong as the one that is to be replaced, or stronger.",
        "challenge.client_id": "Say in client_id who will answer: 1 to 256 characters.",
        "challenge.end": "The exp of an answer is the expires_at that came with the challenge.",
        "challenge.expired": "This challenge has ended: ask for a new one, and answer it at once.",
        "challenge.purpose": "A challenge is for one purpose: token.",
        "challenge.repeated": "This challenge was answered before: ask for a new one.",
        "challenge.thumbprint": "Say in key_thumbprint which key will answer: its RFC 7638 thumbprint, or the x5t#S256 of its "
        "certificate, 43 characters.",
        "challenge.unknown": "This challenge was not given to this client for this key: ask for a new one.",
        # challenge
        "authorization.several": "Send one Authorization header.",
        "authorization.syntax": "Send Authorization as a scheme, a space, and the credentials.",
        # dpop
        "dpop.algorithm": "Sign the DPoP proof with one of {algorithms}.",
        "dpop.ath": "The DPoP proof is not for the access token that was sent: put its SHA-256, base64url, into ath.",
        "dpop.claims": "The claims of the DPoP proof cannot be used: look at {claim}. It needs jti, htm, htu and iat.",
        "dpop.from_future": "The DPoP proof was made {seconds} s ahead of the clock here: {limit} s at most. Set your clock.",
        "dpop.jti": "The jti of the DPoP proof is too long: {limit} characters at most.",
        "dpop.key": "The jwk in the header of the DPoP proof is not a public key that is used here.",
        "dpop.malformed": "The DPoP proof is not a JWT in compact form with a header that is understood here.",
        "dpop.method": "The DPoP proof is for another method: htm is {method}, in this very spelling.",
        "dpop.missing": "This access token is bound to a key: send a DPoP proof made with it.",
        "dpop.nonce_missing": "Make the DPoP proof anew with the nonce in DPoP-Nonce.",
        "dpop.nonce_stale": "The nonce in the DPoP proof is too old: make the proof anew with the one in DPoP-Nonce.",
        "dpop.nonce_unknown": "The nonce in the DPoP proof is not one of this server: make the proof anew with the one in "
        "DPoP-Nonce.",
        "dpop.replayed": "This DPoP proof was used before: make a new one, with a new jti, for every request.",
        "dpop.replay_unsure": "Make the DPoP proof anew with the nonce in DPoP-Nonce: of proofs made before this server started "
        "nobody can say whether they were used.",
        "dpop.several": "Send one DPoP header with one proof.",
        "dpop.signature": "The DPoP proof is not signed by the key in its header.",
        "dpop.size": "The DPoP proof is too long: {limit} characters at most.",
        "dpop.target": "This API cannot tell for which URL the request is: it takes no DPoP proofs.",
        "dpop.too_old": "The DPoP proof was made {seconds} s ago: {limit} s at most. Make one for every request, and set your "
        "clock.",
        "dpop.typ": "A DPoP proof has the typ dpop+jwt.",
        "dpop.url": "The DPoP proof is for another URL: htu is {url}.",
        # resource
        "caller.client": "This client is not one of those that this API admits: ask its operator.",
        "caller.scope": "This request needs a token with the scope {scope}.",
        "guard.no_rule": "This API has no rule that allows this method on this path.",
        "guard.path": "Send the path in its plain spelling: no empty or dot segments, no semicolon, nothing needlessly encoded.",
        "token.missing": "This API needs an access token: send Authorization: Bearer and the token.",
        "token.no_proofs": "This API takes no tokens that are bound to a DPoP key: whoever runs it gives its Verifier a "
        "base_url. Until then log in with dpop=False, or WATCHWORD_DPOP=off.",
        "token.not_valid": "The access token is not valid here: it is malformed, expired, revoked, or not made for this API. "
        "Get a new one for this resource.",
        "token.scheme": "This API needs an access token, under the scheme Bearer or DPoP.",
        "verifier.unavailable": "This API cannot check access tokens now. Try again shortly.",
        # federated
        "federated.ambiguous": "The claims of this token log in several agents: send client_id, or have their rules narrowed.",
        "federated.audience": "The token is not for this server alone: ask its issuer for one whose only audience is {audience}.",
        "federated.dates": "The token has no usable exp, or dates that are no numbers.",
        "federated.expired": "The token expired {skew} seconds ago by the clock of this server: ask its issuer for a new one.",
        "federated.jti": "The token has no jti of its own: this agent's tokens work once, and need one.",
        "federated.no_agent": "The issuer is trusted, but the claims of this token log in no agent here. The operator sees which "
        "claim differs with watchword federation test.",
        "federated.not_yet_valid": "The token becomes valid in {skew} seconds by the clock of this server: one of the clocks is "
        "wrong.",
        "federated.repeated": "This token was used before, and this agent's tokens work once: ask its issuer for a new one.",
        "federated.too_many": "Too many agents trust this issuer to try them all: send client_id.",
        "federated.too_old": "The token is older than it may be for this agent: ask its issuer for a new one for each login.",
        # server
        "authorize.unsupported": "There is no interactive login here: agents ask for tokens at the token endpoint.",
        "binding.certificate_invalid": "The certificate of this connection cannot be used: it has expired, or its key or its "
        "purpose is not one that is accepted.",
        "binding.required": "A token here must be bound to a key of yours: send a proof of possession with the request.",
        "binding.certificate_required": "This client gets tokens for its certificate alone: send the request over mutual TLS.",
        "binding.dpop_required": "This client gets tokens for its key alone: send a proof in the header DPoP.",
        "client.concession": "{advice}. What was sent is accepted only of clients for which the operator has allowed "
        "{concession}: mend the client, or have it allowed.",
        "client.several_methods": "Send exactly one kind of client authentication: the Authorization header, or client_secret "
        "in the body, or an assertion.",
        "client.id_mismatch": "client_id in the body differs from the one in the Authorization header: send one, or the same.",
        "feed.agent_readers": "As many read the feed as this agent already as may: wait as long as Retry-After says.",
        "feed.position": "The position to go on from is what stood in id: send it as it was, or none to begin anew.",
        "feed.query": "The feed takes the parameters after and wait, each once, and no token in the URL.",
        "feed.serves": "This agent is not registered as the server of a resource: ask the operator to say which it serves.",
        "feed.wait": "wait is a whole number of seconds, {limit} at most.",
        "grant.assertion_missing": "The parameter assertion is missing: this grant_type is a token of a trusted issuer.",
        "grant.missing": "The parameter grant_type is missing: send grant_type=client_credentials.",
        "grant.not_allowed": "This client is not registered for this grant_type.",
        "grant.unknown": "This server does not know this grant_type. It knows: {supported}.",
        "limit.agent": "This client asks for more tokens than it may. Keep a token until it expires, and wait as long as "
        "Retry-After says.",
        "limit.login_failures": "Too many failed attempts. Mend the credential, and wait as long as Retry-After says.",
        "limit.peer": "Too many requests from this address. Wait as long as Retry-After says.",
        "limit.peer_failures": "Too many failed attempts from this address. Mend what is refused, and wait as long as "
        "Retry-After says.",
        "permission.ended": "The permission for this scope has ended: ask the operator for a new one.",
        "permission.hours": "The permission for this scope holds between {hours} UTC.",
        "permission.network": "The permission for this scope does not hold from the network this request came from.",
        "permission.not_yet": "The permission for this scope has not begun yet.",
        "request.content_encoding": "Send the body as it is: compressed requests are not read.",
        "request.host": "The Host header does not name this server: use the host of its issuer, or have the operator add "
        "yours to allowed_hosts.",
        "request.method": "This method is not served here. Use: {allow}.",
        "request.misdirected": "The Host header names another host than the TLS handshake did: open a connection of its own.",
        "revoke.another": "This token was issued to another client, and stays as it is: only its own client revokes it here.",
        "revoke.credential": "This is the secret of a client, and no token: the operator revokes it with "
        "watchword credential revoke.",
        "request.token": "The parameter token is missing: send the token in the body.",
        "request.path": "Nothing is served at this path. The metadata document lists the endpoints.",
        "status.list": "There is no status list of this number. The list of all lists is one level up.",
        "scope.missing": "Name the scopes you need: this client has no default scopes for {resource}.",
        "scope.not_permitted": "This client has no permission for the scope {scope} here: ask the operator to grant it.",
        "scope.unknown": "The resource {resource} has no scope {scope}.",
        "server.unavailable": "The server cannot answer now; nothing was done. Try again shortly.",
        "target.not_permitted": "This client has no permission for the resource {resource}: ask the operator to grant one.",
    }
)


def describe(reason: str, facts: Mapping[str, str]) -> str:
    """Return the sentence of a reason, its facts filled in and made fit for the wire: no secret, the character set of
    RFC 6749 §5.2, 200 characters of a fact at most."""
    return DESCRIPTIONS[reason].format_map({name: _wire_safe(value) for name, value in facts.items()})


def _wire_safe(text: str) -> str:
    kept = "".join(
        character if " " <= character <= "~" and character not in '"\\' else "?" for character in redact(text)
    )
    return kept if len(kept) <= 200 else kept[:200] + "..."
