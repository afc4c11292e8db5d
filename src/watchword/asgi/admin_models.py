"""What the admin API takes, as pydantic models. They say which members exist; what a value may be, operations say."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr, WithJsonSchema

from watchword.errors import Invalid
from watchword.operations.agents import UNCHANGED, CreateAgent, UpdateAgent
from watchword.operations.checks import NAME_PATTERN
from watchword.operations.credential_kinds import AUTH_METHODS, KINDS, kind_of
from watchword.operations.credentials import AddCredential
from watchword.operations.operators import CreateOperator
from watchword.operations.permissions import Grant
from watchword.operations.resources import CreateResource, UpdateResource
from watchword.ports.agents import Conditions, CredentialKind, Role
from watchword.protocol import names

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _parse_time(value: object) -> datetime:
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("a time in RFC 3339 is wanted, such as 2027-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("this time is out of range") from None


Timestamp = Annotated[
    datetime, BeforeValidator(_parse_time), WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation")
]
Name = Annotated[StrictStr, Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}$"})]
Seconds = Annotated[StrictInt, Field(ge=1, le=3600)]
Scopes = Annotated[list[StrictStr], Field(examples=[["read:data"]])]


class Body(BaseModel):
    """A JSON object without unknown members."""

    model_config = ConfigDict(extra="forbid")


class NewResource(Body):
    """A protected API. `identifier` is what stands in `aud`; it is the name unless given."""

    name: Name = Field(examples=["my-api"])
    scopes: Scopes
    identifier: StrictStr | None = Field(default=None, examples=["https://api.example.com"])
    token_lifetime: Seconds = 600
    signing_algorithm: StrictStr | None = Field(
        default=None,
        description="The server's setting unless given.",
        json_schema_extra={"enum": list(names.SIGNING_ALGORITHMS)},
    )
    require_pop: StrictBool = False

    def to_command(self) -> CreateResource:
        """Return the command."""
        return CreateResource(
            name=self.name,
            scopes=tuple(self.scopes),
            identifier=self.identifier,
            token_lifetime=timedelta(seconds=self.token_lifetime),
            signing_algorithm=self.signing_algorithm,
            require_pop=self.require_pop,
        )


class ResourceChange(Body):
    """What is left out stays. Name and identifier never change."""

    scopes: Scopes = Field(default=[])
    token_lifetime: Seconds = 600
    signing_algorithm: StrictStr = Field(
        default=names.ES256, json_schema_extra={"enum": list(names.SIGNING_ALGORITHMS)}
    )
    require_pop: StrictBool = False

    def to_command(self, name: str, expected: frozenset[int] | None) -> UpdateResource:
        """Return the command; only members that were sent are in it."""
        sent = self.model_fields_set
        return UpdateResource(
            name=name,
            scopes=tuple(self.scopes) if "scopes" in sent else None,
            token_lifetime=timedelta(seconds=self.token_lifetime) if "token_lifetime" in sent else None,
            signing_algorithm=self.signing_algorithm if "signing_algorithm" in sent else None,
            require_pop=self.require_pop if "require_pop" in sent else None,
            expected=expected,
        )


class NewConditions(Body):
    """What narrows a permission. `hours` is `HH:MM-HH:MM` in UTC and may pass midnight."""

    not_before: Timestamp | None = None
    not_after: Timestamp | None = None
    source_networks: list[StrictStr] = Field(default=[], examples=[["10.0.0.0/8"]])
    hours: StrictStr = Field(default="", examples=["08:00-18:00"])
    maximum_lifetime: Seconds | None = None
    require_sender_constraint: StrictBool = False

    def to_conditions(self) -> Conditions:
        """Return the conditions, not checked yet."""
        seconds = self.maximum_lifetime
        return Conditions(
            not_before=self.not_before,
            not_after=self.not_after,
            source_networks=tuple(self.source_networks),
            hours=self.hours,
            maximum_lifetime=None if seconds is None else timedelta(seconds=seconds),
            require_sender_constraint=self.require_sender_constraint,
        )


class NewPermission(Body):
    """Scopes of one resource. `default_scopes` are given when a token request names none."""

    resource: StrictStr = Field(examples=["my-api"])
    scopes: Scopes
    default_scopes: list[StrictStr] = Field(default=[], examples=[["read:data"]])
    conditions: NewConditions = NewConditions()

    def to_grant(self) -> Grant:
        """Return what is to be permitted."""
        return Grant(
            resource=self.resource,
            scopes=tuple(self.scopes),
            default_scopes=tuple(self.default_scopes),
            conditions=self.conditions.to_conditions(),
        )


class Ways(Body):
    """What is said of a credential that is no secret, under the name of its kind. Of a secret nothing is said."""

    public_key: dict[StrictStr, Any] | None = None
    certificate: dict[StrictStr, Any] | None = None
    federated: dict[StrictStr, Any] | None = None

    def said_of(self, kind: CredentialKind) -> dict[str, Any]:
        """Return what is said of a credential of this kind.

        Raises:
            Invalid: credential.details: something is said of another kind.
        """
        said = {name: value for name in Ways.model_fields if (value := getattr(self, name)) is not None}
        if said.keys() - {kind.value}:
            detail = f"A credential of the kind {kind} has no member {', '.join(sorted(said.keys() - {kind.value}))}."
            raise Invalid("credential.details", detail=detail)
        return dict(said.get(kind.value, {}))


class NewAgent(Ways):
    """An agent with its first way in: a client secret, unless another method is named and what it needs is given.

    `default_resource` is that of the first permission unless given."""

    name: Name = Field(examples=["reader"])
    auth_method: StrictStr = Field(default=names.CLIENT_SECRET_BASIC, json_schema_extra={"enum": list(AUTH_METHODS)})
    pin_auth_method: StrictBool = False
    dpop_bound: StrictBool = Field(default=False, description="It gets tokens for its DPoP key alone.")
    mtls_bound: StrictBool = Field(default=False, description="It gets tokens for its certificate alone.")
    concessions: list[StrictStr] = Field(default=[], examples=[[names.EDDSA_HEADER]])
    serves: list[StrictStr] = Field(default=[], examples=[["my-api"]])
    owner: StrictStr = Field(default="", examples=["team-data"])
    purpose: StrictStr = Field(default="", examples=["Reads the daily figures."])
    labels: dict[StrictStr, StrictStr] = Field(default={}, examples=[{"env": "prod"}])
    expires_at: Timestamp | None = None
    default_resource: StrictStr | None = None
    permissions: list[NewPermission] = []

    def to_command(self) -> CreateAgent:
        """Return the command."""
        return CreateAgent(
            name=self.name,
            auth_method=self.auth_method,
            pin_auth_method=self.pin_auth_method,
            credential=self.said_of(kind_of(self.auth_method)),
            dpop_bound=self.dpop_bound,
            mtls_bound=self.mtls_bound,
            concessions=tuple(self.concessions),
            serves=tuple(self.serves),
            owner=self.owner,
            purpose=self.purpose,
            labels=self.labels,
            expires_at=self.expires_at,
            default_resource=self.default_resource,
            grants=tuple(one.to_grant() for one in self.permissions),
        )


class AgentChange(Body):
    """What is left out stays; `null` empties `expires_at` and `default_resource`. Name and `client_id` never change."""

    owner: StrictStr = Field(default="", examples=["team-data"])
    purpose: StrictStr = ""
    labels: dict[StrictStr, StrictStr] = Field(default={}, examples=[{"env": "prod"}])
    auth_methods: list[StrictStr] = Field(default=[], examples=[[names.CLIENT_SECRET_BASIC]])
    dpop_bound: StrictBool = False
    mtls_bound: StrictBool = False
    concessions: list[StrictStr] = Field(default=[], examples=[[names.EDDSA_HEADER]])
    serves: list[StrictStr] = Field(default=[], examples=[["my-api"]])
    expires_at: Timestamp | None = None
    default_resource: StrictStr | None = None

    def to_command(self, ref: str, expected: frozenset[int] | None) -> UpdateAgent:
        """Return the command; only members that were sent are in it."""
        sent = self.model_fields_set
        return UpdateAgent(
            ref=ref,
            owner=self.owner if "owner" in sent else None,
            purpose=self.purpose if "purpose" in sent else None,
            labels=self.labels if "labels" in sent else None,
            auth_methods=tuple(self.auth_methods) if "auth_methods" in sent else None,
            dpop_bound=self.dpop_bound if "dpop_bound" in sent else None,
            mtls_bound=self.mtls_bound if "mtls_bound" in sent else None,
            concessions=tuple(self.concessions) if "concessions" in sent else None,
            serves=tuple(self.serves) if "serves" in sent else None,
            expires_at=self.expires_at if "expires_at" in sent else UNCHANGED,
            default_resource=self.default_resource if "default_resource" in sent else UNCHANGED,
            expected=expected,
        )


class StateChange(Body):
    """Why; it stands in the audit trail."""

    reason: StrictStr = Field(default="", examples=["It talks to strangers."])


class NewCredential(Ways):
    """One more way in: a client secret, unless another kind is named and what it needs is given."""

    kind: Annotated[StrictStr, Field(pattern=f"^({'|'.join(KINDS)})$")] = CredentialKind.CLIENT_SECRET.value
    label: StrictStr = Field(default="", examples=["rotation 2027-01"])
    not_before: Timestamp | None = None
    expires_at: Timestamp | None = None

    def to_command(self, ref: str) -> AddCredential:
        """Return the command."""
        kind = CredentialKind(self.kind)
        return AddCredential(
            ref=ref,
            kind=kind,
            details=self.said_of(kind),
            label=self.label,
            not_before=self.not_before,
            expires_at=self.expires_at,
        )


class NewOperator(Body):
    """Somebody who may administer, as far as the role goes."""

    name: Name = Field(examples=["alice"])
    role: Role
    expires_at: Timestamp | None = None

    def to_command(self) -> CreateOperator:
        """Return the command."""
        return CreateOperator(name=self.name, role=self.role, expires_at=self.expires_at)


NOTHING_SAID: Final = StateChange()
