"""Operators: who administers, and how one proves to be one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from watchword.clock import Clock
from watchword.errors import Conflict, Forbidden, InvalidRequest, Missing, Unauthenticated
from watchword.operations.checks import check_expiry, check_name, check_text
from watchword.operations.context import OperationContext, Principal, details
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.agents import AgentStore, Operator, Role
from watchword.protocol.challenge import parse_authorization
from watchword.protocol.client_secret import SecretKind, find_match, generate_secret, hash_secret, looks_like_secret

_TOKEN_START: Final = "eyJ"  # noqa: S105 -- base64url of {", with which every signed token begins


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOperator:
    """``name`` is unique among operators."""

    name: str
    role: Role
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOperators:
    """All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableOperator:
    """``ref`` is the operator's id or name. ``note`` says why, for the audit trail."""

    ref: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class NewOperator:
    """An operator and its credential, which exists nowhere else and is not shown again."""

    operator: Operator
    token: str = field(repr=False)


@operation("operator.create")
async def create_operator(context: OperationContext, command: CreateOperator) -> NewOperator:
    """Let somebody administer. Only an admin may, who can do everything already: nobody gains by it.

    Raises:
        Invalid: operator.name, operator.expires_at
        Conflict: operator.exists
    """
    name = check_name(command.name, "operator")
    if any(one.name == name for one in await context.store.operators()):
        raise Conflict("operator.exists", detail="An operator of this name exists.")
    token = generate_secret(SecretKind.OPERATOR)
    operator = Operator(
        id=f"op-{secrets.token_hex(8)}",
        name=name,
        role=command.role,
        created_at=context.now,
        expires_at=check_expiry(command.expires_at, now=context.now, noun="operator"),
        token_hash=hash_secret(token, pepper=context.peppers.operator_token),
    )
    facts = details(operator_id=operator.id, name=name, role=operator.role, operator_expires_at=operator.expires_at)
    await context.commit("created", store.Create(operator), details=facts)
    return NewOperator(operator, token)


@operation("operator.list")
async def list_operators(context: OperationContext, _command: ListOperators) -> tuple[Operator, ...]:
    """Return all operators by name."""
    return tuple(await context.store.operators())


@operation("operator.disable")
async def disable_operator(context: OperationContext, command: DisableOperator) -> Operator:
    """Refuse an operator from the next request on, for ever. Disabling a disabled one changes nothing.

    Nobody locks himself out, and an admin whom time does not end as well is always left.

    Raises:
        Missing: operator.unknown
        Conflict: operator.self, operator.last_admin
        Invalid: text.*
    """
    note = check_text(command.note, "reason")
    operators = await context.store.operators()
    operator = next((one for one in operators if command.ref in (one.id, one.name)), None)
    if operator is None:
        raise Missing("operator.unknown", detail="There is no operator with this id or name.")
    if context.principal.actor == f"operator:{operator.id}":
        raise Conflict("operator.self", detail="You would lock yourself out. Ask another admin.")
    if operator.is_disabled:
        return operator
    others = (one for one in operators if one.role is Role.ADMIN and one.id != operator.id)
    if operator.role is Role.ADMIN and not any(one.is_usable(context.now) for one in others):
        raise Conflict("operator.last_admin", detail="This is the last admin who can log in. Create another first.")
    disabled = replace(operator, is_disabled=True, version=operator.version + 1)
    facts = details(operator_id=operator.id, name=operator.name, role=operator.role, note=note)
    await context.commit("disabled", store.Replace(disabled), details=facts)
    return disabled


async def authenticate_operator(token: str, *, operators: AgentStore, pepper: bytes, now: datetime) -> Principal:
    """Return the principal whose credential this is.

    The store is asked by keyed hash, so what it compares tells nothing of a secret; text that cannot be an operator's
    credential is refused before.

    Raises:
        Forbidden: operator.agent_token, an access token: it belongs to an agent, whatever its scope says.
        Unauthenticated: operator.agent_secret, operator.credential, operator.disabled, operator.expired
        StoreUnavailable
    """
    if token.startswith(_TOKEN_START) and token.count(".") == 2:
        raise Forbidden("operator.agent_token", detail="Agents may not administer, whatever the scope of their tokens.")
    if token.startswith((f"{SecretKind.CLIENT}_", f"{SecretKind.API_KEY}_")):
        raise Unauthenticated("operator.agent_secret")
    if not looks_like_secret(token):
        raise Unauthenticated("operator.credential")
    presented = hash_secret(token, pepper=pepper)
    operator = await operators.operator(presented)
    if operator is None or find_match(presented, (operator.token_hash,)) is None:
        raise Unauthenticated("operator.credential")
    if operator.is_disabled:
        raise Unauthenticated("operator.disabled")
    if not operator.is_usable(now):
        raise Unauthenticated("operator.expired")
    return Principal(f"operator:{operator.id}", operator.role)


class OperatorTokens:
    """Reads ``Authorization: Bearer wwo_...`` and says whose it is. The operator's state is read at every request."""

    def __init__(self, operators: AgentStore, clock: Clock, pepper: bytes) -> None:
        self._operators = operators
        self._clock = clock
        self._pepper = pepper

    async def __call__(self, authorization: Sequence[bytes]) -> Principal:
        """Return the principal for all values of the ``Authorization`` header.

        Raises:
            Unauthenticated: operator.missing, operator.scheme, authorization.several, authorization.syntax, and those of
                ``authenticate_operator``
            Forbidden: operator.agent_token
            StoreUnavailable
        """
        try:
            presented = parse_authorization(authorization)
        except InvalidRequest as error:
            raise Unauthenticated(error.reason) from error
        if presented is None:
            raise Unauthenticated("operator.missing")
        scheme, token = presented
        if scheme != "bearer":
            raise Unauthenticated("operator.scheme")
        return await authenticate_operator(token, operators=self._operators, pepper=self._pepper, now=self._clock())


class LocalOperator:
    """Always the same principal: for who already has the store's own files in hand. Never behind a listener."""

    def __init__(self, user: str) -> None:
        self._principal = Principal(f"local:{user}", Role.ADMIN)

    async def __call__(self, _authorization: Sequence[bytes]) -> Principal:
        """Return the principal."""
        return self._principal
