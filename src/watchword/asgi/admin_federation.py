"""``/trusted-issuers`` of the admin API: whose word is taken for who an agent is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, StrictStr
from starlette.responses import Response

from watchword.asgi.admin_models import Body, Name
from watchword.asgi.admin_requests import Context, Expected, problems
from watchword.asgi.admin_views import Timestamp, answer
from watchword.operations import federation, federation_report
from watchword.ports.audit import format_time
from watchword.ports.issuers import TrustedIssuer
from watchword.protocol.claim_rules import find_claim
from watchword.protocol.federation_presets import PRESETS

IssuerName = Annotated[str, Path(description="The trusted issuer's name.", examples=["github"])]

router = APIRouter(prefix="/trusted-issuers", tags=["trusted issuers"])


class NewTrustedIssuer(Body):
    """An issuer whose tokens log agents in. Its keys are found by discovery, unless `jwks_uri` or `jwks` is given."""

    name: Name = Field(examples=["github"])
    issuer: StrictStr = Field(default="", examples=["https://token.actions.githubusercontent.com"])
    preset: StrictStr = Field(default="", json_schema_extra={"enum": ["", *PRESETS]})
    jwks_uri: StrictStr = ""
    jwks: dict[StrictStr, Any] = Field(default={})
    algorithms: list[StrictStr] = Field(default=[], examples=[["RS256"]])
    audience: StrictStr = Field(
        default="", description="What its tokens are for, where it is not this server's issuer."
    )

    def to_command(self) -> federation.TrustIssuer:
        """Return the command."""
        return federation.TrustIssuer(
            name=self.name,
            issuer=self.issuer,
            preset=self.preset,
            jwks_uri=self.jwks_uri,
            jwks=self.jwks,
            algorithms=tuple(self.algorithms),
            audience=self.audience,
        )


class TrustedIssuerChange(Body):
    """What is left out stays. Name and issuer never change."""

    jwks_uri: StrictStr = ""
    jwks: dict[StrictStr, Any] = Field(default={})
    algorithms: list[StrictStr] = Field(default=[], examples=[["RS256"]])
    audience: StrictStr = ""

    def to_command(self, name: str, expected: frozenset[int] | None) -> federation.UpdateTrustedIssuer:
        """Return the command; only members that were sent are in it."""
        sent = self.model_fields_set
        return federation.UpdateTrustedIssuer(
            name=name,
            jwks_uri=self.jwks_uri if "jwks_uri" in sent else None,
            jwks=self.jwks if "jwks" in sent else None,
            algorithms=tuple(self.algorithms) if "algorithms" in sent else None,
            audience=self.audience if "audience" in sent else None,
            expected=expected,
        )


class ForeignTokenBody(Body):
    """A token to be explained. It is used for nothing else, and kept nowhere."""

    token: StrictStr


class TrustedIssuerView(BaseModel):
    """An issuer that is trusted."""

    name: str
    issuer: str
    jwks_uri: str | None = None
    jwks: dict[str, Any] | None = None
    algorithms: list[str]
    audience: str
    created_at: Timestamp
    version: int


class TrustedIssuerList(BaseModel):
    """All of them."""

    items: list[TrustedIssuerView]


class MismatchView(BaseModel):
    """A claim that does not fit a rule: `missing`, of another `type`, or of another `value`."""

    claim: str
    problem: str
    wanted: list[Any]
    found: Any | None = None


class RuleView(BaseModel):
    """What one rule says of a token."""

    client_id: str
    credential_id: str
    matches: bool
    mismatches: list[MismatchView]
    problem: str | None = None


class TokenReportView(BaseModel):
    """What would become of a token. `reason` stands there if it logs nobody in, `client_id` if it does."""

    accepted: bool
    reason: str | None = None
    detail: str | None = None
    trusted_issuer: str | None = None
    client_id: str | None = None
    credential_id: str | None = None
    rules: list[RuleView]


@router.get("", response_model=TrustedIssuerList)
async def list_trusted_issuers(context: Context) -> Response:
    """List all trusted issuers by name."""
    listed = await federation.list_trusted_issuers(context, federation.ListTrustedIssuers())
    return answer(TrustedIssuerList(items=[_view(context.issuer, one) for one in listed]))


@router.post("", status_code=201, response_model=TrustedIssuerView, responses=problems(409, 413, 415, 422))
async def trust_issuer(context: Context, body: NewTrustedIssuer) -> Response:
    """Trust an issuer. Its keys are fetched first; where they cannot be had, nothing is trusted."""
    return _answer(context.issuer, await federation.trust_issuer(context, body.to_command()), status=201)


@router.post("/test", response_model=TokenReportView, responses=problems(413, 415, 422))
async def test_token(context: Context, body: ForeignTokenBody) -> Response:
    """Say which agent a token would log in, or which claim differs. Nothing is issued, and nothing is used up."""
    report = await federation_report.explain_token(context, federation_report.ExplainToken(body.token))
    return answer(_report_view(report))


@router.get("/{name}", response_model=TrustedIssuerView, responses=problems(404))
async def show_trusted_issuer(context: Context, name: IssuerName) -> Response:
    """Show one trusted issuer."""
    command = federation.NameTrustedIssuer(name=name)
    return _answer(context.issuer, await federation.show_trusted_issuer(context, command))


@router.patch("/{name}", response_model=TrustedIssuerView, responses=problems(404, 412, 413, 415, 422))
async def update_trusted_issuer(
    context: Context, name: IssuerName, body: TrustedIssuerChange, expected: Expected
) -> Response:
    """Change where its keys are, how its tokens are signed, or for whom they are."""
    return _answer(context.issuer, await federation.update_trusted_issuer(context, body.to_command(name, expected)))


@router.delete("/{name}", response_model=TrustedIssuerView, responses=problems(404, 409, 412))
async def distrust_issuer(
    context: Context,
    name: IssuerName,
    expected: Expected,
    with_credentials: Annotated[bool, Query(description="Revoke all credentials that name it, too.")] = False,
) -> Response:
    """Take an issuer's word no more, from the next request on."""
    command = federation.NameTrustedIssuer(name=name, with_credentials=with_credentials, expected=expected)
    return answer(_view(context.issuer, await federation.distrust_issuer(context, command)))


def _answer(issuer: str, trusted: TrustedIssuer, *, status: int = 200) -> Response:
    return answer(_view(issuer, trusted), status=status, version=trusted.version)


def _view(issuer: str, trusted: TrustedIssuer) -> TrustedIssuerView:
    return TrustedIssuerView(
        name=trusted.name,
        issuer=trusted.issuer,
        jwks_uri=trusted.jwks_uri or None,
        jwks=dict(trusted.jwks) or None,
        algorithms=list(trusted.algorithms),
        audience=trusted.audience or issuer,
        created_at=format_time(trusted.created_at),
        version=trusted.version,
    )


def _report_view(report: federation_report.TokenReport) -> TokenReportView:
    rules = [_rule_view(one, report) for one in report.rules]
    chosen = next((one for one in report.rules if one.matches), None) if not report.reason else None
    return TokenReportView(
        accepted=chosen is not None,
        reason=report.reason or None,
        detail=report.detail or None,
        trusted_issuer=report.trusted.name if report.trusted else None,
        client_id=chosen.credential.client_id if chosen else None,
        credential_id=chosen.credential.id if chosen else None,
        rules=rules,
    )


def _rule_view(rule: federation_report.RuleReport, report: federation_report.TokenReport) -> RuleView:
    return RuleView(
        client_id=rule.credential.client_id,
        credential_id=rule.credential.id,
        matches=not rule.mismatches,
        mismatches=[
            MismatchView(
                claim=one.claim,
                problem=one.problem,
                wanted=list(one.wanted),
                found=find_claim(report.claims, one.claim),
            )
            for one in rule.mismatches
        ],
        problem=rule.problem or None,
    )
