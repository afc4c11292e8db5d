"""What would become of a token of an outside issuer: which rule means it, and which claim differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from watchword.operations.context import OperationContext
from watchword.operations.operation import operation
from watchword.ports.agents import Credential
from watchword.ports.issuers import TrustedIssuer
from watchword.protocol.claim_rules import ClaimRule, Mismatch
from watchword.protocol.federation_presets import ALGORITHMS
from watchword.protocol.foreign_token import (
    ForeignToken,
    InvalidForeignToken,
    check_age,
    judge_claims,
    parse_foreign_token,
    verify_foreign_token,
)
from watchword.server.federation import MAX_RULES, find_key

MAX_SHOWN: Final = 20
"""Rules that a test tells of, the nearest first."""


@dataclass(frozen=True, slots=True)
class ExplainToken:
    """A token of an outside issuer, to be explained."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RuleReport:
    """What one agent's rule says of a token. ``problem`` is the reason why it is refused though all claims fit."""

    credential: Credential
    mismatches: tuple[Mismatch, ...]
    problem: str = ""

    @property
    def matches(self) -> bool:
        """It would log this agent in, were the token good otherwise."""
        return not self.mismatches and not self.problem


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What would become of a token: ``reason`` is why it is refused, empty where it logs an agent in."""

    reason: str
    detail: str = ""
    trusted: TrustedIssuer | None = None
    claims: Mapping[str, object] = field(default_factory=dict)
    rules: tuple[RuleReport, ...] = ()


@operation("trusted_issuer.test")
async def explain_token(context: OperationContext, command: ExplainToken) -> TokenReport:
    """Say what would become of a token: nothing is issued, and nothing is used up."""
    try:
        token = parse_foreign_token(command.token.strip())
    except InvalidForeignToken as refused:
        return TokenReport(refused.reason, refused.detail)
    found = [await context.store.trusted_issuer_of(name) for name in (token.issuer, token.trust_domain) if name]
    trusted = next((one for one in found if one is not None), None)
    if trusted is None:
        return TokenReport("federated.issuer", token.issuer or token.trust_domain)
    algorithms = frozenset(trusted.algorithms or ALGORITHMS)
    key = await find_key(token, trusted, context.foreign_keys, context.now) if token.algorithm in algorithms else None
    if key is None:
        return TokenReport("federated.key", f"{token.algorithm} {token.kid[:64]}", trusted)
    try:
        claims = verify_foreign_token(token, key=key, algorithms=algorithms)
    except InvalidForeignToken as refused:
        return TokenReport(refused.reason, refused.detail, trusted)
    return await _report(context, trusted, claims)


async def _report(context: OperationContext, trusted: TrustedIssuer, claims: Mapping[str, object]) -> TokenReport:
    reason, signed = "", None
    try:
        signed = judge_claims(claims, audience=trusted.audience or context.issuer, now=context.now)
    except InvalidForeignToken as refused:
        reason = refused.reason
    stored = await context.store.federated(trusted.name, limit=MAX_RULES)
    reports = [_judge(context, one, claims, signed) for one in stored if one.is_usable(context.now)]
    reports.sort(key=lambda report: (len(report.mismatches), report.credential.id))
    return TokenReport(reason or _verdict(reports), "", trusted, claims, tuple(reports[:MAX_SHOWN]))


def _judge(
    context: OperationContext, credential: Credential, claims: Mapping[str, object], signed: ForeignToken | None
) -> RuleReport:
    rule, problem = ClaimRule.from_details(credential.details), ""
    try:
        if signed is not None:
            check_age(signed, max_age=rule.max_age, now=context.now)
    except InvalidForeignToken as refused:
        problem = refused.reason
    return RuleReport(credential, rule.judge(claims), problem)


def _verdict(reports: Sequence[RuleReport]) -> str:
    fitting = [report for report in reports if not report.mismatches]
    if not fitting:
        return "federated.no_agent"
    if len({report.credential.client_id for report in fitting}) > 1:
        return "federated.ambiguous"
    return fitting[0].problem
