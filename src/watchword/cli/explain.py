"""Why a token would be refused, check by check; why a request was, from its audit event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from watchword.cli.exits import CommandError, ExitCode
from watchword.cli.fetch import fetch_keys
from watchword.cli.output import TABLE, Document, documents, print_facts, print_table, print_value
from watchword.cli.session import Session
from watchword.cli.times import in_words
from watchword.clock import system_clock
from watchword.errors import InvalidToken
from watchword.protocol import jose, names
from watchword.protocol.access_token import parse_access_token
from watchword.protocol.descriptions import DESCRIPTIONS, UNAUTHENTICATED
from watchword.protocol.jwks import KeySet

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient

PASSED: Final = "pass"
FAILED: Final = "fail"
SKIPPED: Final = "not checked"
LEEWAY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Check:
    """One question asked of a token, its answer, and what to do where the answer is no."""

    name: str
    result: str
    finding: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known besides the token itself. ``keys`` are missing where the issuer is not ours, ``agent`` where unknown."""

    issuer: str
    now: datetime
    keys: KeySet | None = None
    agent: Document | None = None
    audience: str | None = None
    audiences: frozenset[str] = field(default_factory=frozenset)
    scopes: tuple[str, ...] = ()


async def explain_token(session: Session, text: str, *, audience: str | None, scopes: Sequence[str]) -> bool:
    """Print every check of a token and return whether it passes them all."""
    async with session.admin() as admin:
        checks = await _check(admin, text, audience=audience, scopes=tuple(scopes))
    is_accepted = all(check.result == PASSED for check in checks)
    if session.form == TABLE:
        print_table(["CHECK", "RESULT", "FINDING"], [[check.name, check.result, _whole(check)] for check in checks])
    else:
        print_value({"accepted": is_accepted, "checks": [_document(check) for check in checks]}, session.form)
    return is_accepted


async def explain_request(session: Session, request_id: str) -> bool:
    """Print what became of a request, or of the one that issued the token with this ``jti``; return whether it succeeded."""
    async with session.admin() as admin:
        events = documents(await admin.get("audit", "events", query={"request_id": request_id}))
        events = events or documents(await admin.get("audit", "events", query={"jti": request_id}))
    found = [event for item in events if isinstance(event := item.get("event"), dict)]
    if not found:
        sentence = f"No audit event has the request id (or jti) {request_id}: is it this server's, and complete?"
        raise CommandError(ExitCode.MISSING, sentence, reason="cli.no_event")
    explained = [{**event, "explanation": explain_reason(event)} for event in found]
    if session.form == TABLE:
        for event in explained:
            print_facts(event)
    else:
        print_value(explained, session.form)
    return all(event["outcome"] == "success" for event in explained)


def explain_reason(event: Document) -> str:
    """Return the sentence for the reason of an event, with what the event tells in its gaps."""
    if event.get("outcome") == "success":
        return "The request was answered as asked."
    sentence = DESCRIPTIONS.get(str(event.get("reason", "")), UNAUTHENTICATED)
    details = event.get("details")
    return sentence.format_map(_Gaps(details if isinstance(details, dict) else {}))


class _Gaps(dict[str, object]):
    """What the event does not tell stays a visible gap."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


async def _check(admin: AdminClient, text: str, *, audience: str | None, scopes: tuple[str, ...]) -> list[Check]:
    server = await admin.get("server")
    issuer = str(server["issuer"])
    try:
        token = parse_access_token(text)
        claims = jose.unverified_claims(token)
    except (InvalidToken, jose.InvalidJws) as error:
        remedy = "Send the access token exactly as it was issued; other kinds of token are not accepted."
        return [Check("form", FAILED, f"It is not an access token of RFC 9068 ({error.reason}).", remedy)]
    evidence = Evidence(
        issuer=issuer,
        now=system_clock(),
        keys=await fetch_keys(issuer) if claims.get(names.ISS) == issuer else None,
        agent=await _find_agent(admin, claims.get(names.CLIENT_ID)),
        audience=audience,
        audiences=frozenset(str(item.get("identifier")) for item in await admin.pages("resources")),
        scopes=scopes,
    )
    return check_token(token, claims, evidence)


async def _find_agent(admin: AdminClient, client_id: object) -> Document | None:
    try:
        return await admin.get("agents", client_id) if isinstance(client_id, str) else None
    except CommandError as error:
        if error.code is ExitCode.MISSING:
            return None
        raise


def check_token(token: jose.UnverifiedToken, claims: Mapping[str, object], evidence: Evidence) -> list[Check]:
    """Return every check of a well-formed token, in the order a resource server makes them."""
    return [
        Check("form", PASSED, f"A signed token of type {names.TYP_ACCESS_TOKEN}, {token.header.get(names.ALG)}."),
        _check_issuer(claims, evidence),
        _check_signature(token, evidence),
        _check_audience(claims, evidence),
        _check_times(claims, evidence.now),
        _check_scope(claims, evidence.scopes),
        _check_agent(claims, evidence),
    ]


def _check_issuer(claims: Mapping[str, object], evidence: Evidence) -> Check:
    issuer = claims.get(names.ISS)
    if issuer == evidence.issuer:
        return Check("issuer", PASSED, f"{issuer}, the server asked.")
    return Check(
        "issuer", FAILED, f"{issuer!r} is not {evidence.issuer!r}.", "Ask the server that issued it, with --url."
    )


def _check_signature(token: jose.UnverifiedToken, evidence: Evidence) -> Check:
    kid, algorithm = str(token.header.get(names.KID, "")), str(token.header.get(names.ALG))
    if evidence.keys is None:
        return Check("signature", SKIPPED, "The keys of a foreign issuer are not fetched.")
    key = evidence.keys.find(kid, algorithm)
    if key is None:
        remedy = "Get a new token; if new ones fail too, compare the issuer's JWKS."
        return Check("signature", FAILED, f"No published key has kid {kid!r} and is for {algorithm}.", remedy)
    try:
        jose.verify(token, key, algorithms=frozenset({algorithm}))
    except jose.InvalidJws as error:
        remedy = "Do not trust it: it was altered, or cut on its way, or made by somebody else."
        return Check("signature", FAILED, f"The signature is not by key {kid} ({error.reason}).", remedy)
    return Check("signature", PASSED, f"By the published key {kid}.")


def _check_audience(claims: Mapping[str, object], evidence: Evidence) -> Check:
    value = claims.get(names.AUD)
    audiences = {str(item) for item in value} if isinstance(value, list) else {str(value)}
    wanted = {evidence.audience} if evidence.audience else evidence.audiences
    said = " ".join(sorted(audiences))
    if audiences & wanted:
        return Check("audience", PASSED, f"For {said}.")
    if evidence.audience:
        remedy = f"Ask for the token with the resource {evidence.audience}."
        return Check("audience", FAILED, f"It is for {said}, not for {evidence.audience}.", remedy)
    return Check("audience", FAILED, f"{said} is no registered resource.", "See `watchword resource list`.")


def _check_times(claims: Mapping[str, object], now: datetime) -> Check:
    try:
        issued = datetime.fromtimestamp(jose.numeric_date(claims.get(names.IAT)), UTC)
        expires = datetime.fromtimestamp(jose.numeric_date(claims.get(names.EXP)), UTC)
    except jose.InvalidJws:
        return Check("time", FAILED, "iat or exp is missing or no time.", "It was not issued by watchword.")
    if (issued - now).total_seconds() > LEEWAY_SECONDS:
        remedy = "Set the clocks: run an NTP client on both machines."
        return Check("time", FAILED, f"It is issued {in_words(issued, now=now)}.", remedy)
    if (now - expires).total_seconds() >= LEEWAY_SECONDS:
        return Check("time", FAILED, f"It expired {in_words(expires, now=now)}.", "Get a new token before each call.")
    return Check("time", PASSED, f"Issued {in_words(issued, now=now)}, expires {in_words(expires, now=now)}.")


def _check_scope(claims: Mapping[str, object], wanted: tuple[str, ...]) -> Check:
    granted = str(claims.get(names.SCOPE, ""))
    missing = [scope for scope in wanted if scope not in granted.split()]
    if missing:
        remedy = f"Ask for the token with scope {' '.join(wanted)}; the agent needs a permission for it."
        return Check("scope", FAILED, f"It lacks {' '.join(missing)}; it has {granted or 'none'}.", remedy)
    return Check("scope", PASSED, granted or "No scope.")


def _check_agent(claims: Mapping[str, object], evidence: Evidence) -> Check:
    client_id, agent = claims.get(names.CLIENT_ID), evidence.agent
    if agent is None:
        return Check("agent", FAILED, f"There is no agent {client_id!r} here.", "Register it, or ask the right server.")
    if agent.get("state") != "active":
        remedy = f"`watchword agent resume {client_id}` if it may work again."
        return Check("agent", FAILED, f"{client_id} is {agent.get('state')}.", remedy)
    expires = agent.get("expires_at")
    if isinstance(expires, str) and datetime.fromisoformat(expires) <= evidence.now:
        return Check("agent", FAILED, f"{client_id} expired at {expires}.", "`watchword agent update --expires 30d`.")
    return Check("agent", PASSED, f"{client_id} is active.")


def _whole(check: Check) -> str:
    return f"{check.finding} {check.remedy}".strip()


def _document(check: Check) -> dict[str, object]:
    document: dict[str, object] = {"check": check.name, "result": check.result, "finding": check.finding}
    return {**document, "remedy": check.remedy} if check.remedy else document
