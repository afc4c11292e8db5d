"""``/keys`` of the admin API: the signing keys, and what is to come for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, StrictStr
from starlette.responses import Response

from watchword.asgi.admin_models import Body, StateChange
from watchword.asgi.admin_requests import Context, problems
from watchword.asgi.admin_views import Timestamp, answer
from watchword.operations import key_migration, key_rotation
from watchword.ports.audit import format_time
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol import names
from watchword.server import key_schedule
from watchword.server.key_schedule import Move, Step

router = APIRouter(prefix="/keys", tags=["keys"])

Kid = Annotated[str, Path(description="The `kid`, or its first 8 characters and more, if one key has them.")]


class KeyChoice(Body):
    """Of which algorithm; the server's unless given."""

    algorithm: StrictStr | None = Field(default=None, json_schema_extra={"enum": list(names.SIGNING_ALGORITHMS)})


class MovedKey(KeyChoice):
    """In which custody the next key is made: `local`, `pkcs11`, ..., as far as they are configured."""

    custody: StrictStr


class PublishedKey(KeyChoice):
    """A prepared key by its `kid`, or the next one of an algorithm."""

    kid: StrictStr = ""


class KeyView(BaseModel):
    """A signing key: when it entered each state, and which it enters next."""

    kid: str
    algorithm: str
    state: KeyState
    custody: str
    created_at: Timestamp
    published_at: Timestamp | None = None
    activated_at: Timestamp | None = None
    retiring_at: Timestamp | None = None
    retired_at: Timestamp | None = None
    compromised_at: Timestamp | None = None
    next_state: KeyState | None = None
    next_at: Timestamp | None = None
    version: int


class StepView(BaseModel):
    """What is to come. `kid` is absent where the key is yet to be made."""

    at: Timestamp
    algorithm: str
    state: KeyState
    kid: str | None = None


class KeyList(BaseModel):
    """All keys, oldest first, and what is to come if nobody interferes."""

    items: list[KeyView]
    planned: list[StepView]


class CompromisedView(BaseModel):
    """The key that is worth nothing any more, and the one that signs in its place, if it signed."""

    key: KeyView
    replacement: KeyView | None = None


CHOICE = KeyChoice()
NEXT = PublishedKey()
NOTHING_SAID = StateChange()


@router.get("", response_model=KeyList)
async def list_keys(context: Context) -> Response:
    """List the signing keys and the plan."""
    found = await key_rotation.list_signing_keys(context, key_rotation.ListSigningKeys())
    planned = [
        StepView(at=format_time(step.at), algorithm=step.algorithm, state=KeyState(step.move), kid=step.kid or None)
        for step in found.plan
    ]
    return answer(KeyList(items=[_key_view(key, found.plan) for key in found.keys], planned=planned))


@router.post("", status_code=201, response_model=KeyView, responses=problems(413, 415, 422))
async def prepare_key(context: Context, body: KeyChoice = CHOICE) -> Response:
    """Make a key that nobody sees yet."""
    command = key_rotation.PrepareSigningKey(algorithm=body.algorithm)
    return await _answer(context, await key_rotation.prepare_signing_key(context, command), status=201)


@router.post("/publish", response_model=KeyView, responses=problems(404, 409, 413, 415, 422))
async def publish_key(context: Context, body: PublishedKey = NEXT) -> Response:
    """Put the next key into the key set. It signs when its time comes."""
    command = key_rotation.PublishSigningKey(kid=body.kid, algorithm=body.algorithm)
    return await _answer(context, await key_rotation.publish_signing_key(context, command))


@router.post("/rotate", response_model=KeyView, responses=problems(409, 413, 415, 422))
async def rotate_key(context: Context, body: KeyChoice = CHOICE) -> Response:
    """Have the next key sign: now, if every verifier can have it, else as soon as that is so."""
    command = key_rotation.RotateSigningKey(algorithm=body.algorithm)
    return await _answer(context, await key_rotation.rotate_signing_key(context, command))


@router.post("/migrate", response_model=KeyView, responses=problems(409, 413, 415, 422))
async def migrate_key(context: Context, body: MovedKey) -> Response:
    """Have the next key made in another custody, published, and sign as soon as every verifier can have it."""
    command = key_migration.MigrateSigningKey(custody=body.custody, algorithm=body.algorithm)
    return await _answer(context, await key_migration.migrate_signing_key(context, command))


@router.post("/{kid}/retire", response_model=KeyView, responses=problems(404, 409, 413, 415, 422))
async def retire_key(context: Context, kid: Kid) -> Response:
    """Take a key out of the key set for ever, once no token of it can be valid."""
    return await _answer(
        context, await key_rotation.retire_signing_key(context, key_rotation.RetireSigningKey(kid=kid))
    )


@router.post("/{kid}/compromise", response_model=CompromisedView, responses=problems(404, 409, 413, 415, 422))
async def compromise_key(context: Context, kid: Kid, body: StateChange = NOTHING_SAID) -> Response:
    """Take a key out of the key set at once, whatever it has signed; a new one signs in its place."""
    command = key_rotation.CompromiseSigningKey(kid=kid, reason=body.reason)
    done = await key_rotation.compromise_signing_key(context, command)
    new = _key_view(done.replacement, ()) if done.replacement else None
    return answer(CompromisedView(key=_key_view(done.key, ()), replacement=new))


async def _answer(context: Context, key: SigningKey, *, status: int = 200) -> Response:
    plan = key_schedule.plan(await context.store.signing_keys(), context.key_times)
    return answer(_key_view(key, plan), status=status, version=key.version)


def _key_view(key: SigningKey, plan: Sequence[Step]) -> KeyView:
    following = _following(key, plan)
    return KeyView(
        kid=key.kid,
        algorithm=key.algorithm,
        state=key.state,
        custody=key.custody,
        created_at=format_time(key.created_at),
        published_at=_time(key.published_at),
        activated_at=_time(key.activated_at),
        retiring_at=_time(key.retiring_at),
        retired_at=_time(key.retired_at),
        compromised_at=_time(key.compromised_at),
        next_state=following[0] if following else None,
        next_at=_time(following[1]) if following else None,
        version=key.version,
    )


def _following(key: SigningKey, plan: Sequence[Step]) -> tuple[KeyState, datetime] | None:
    """Return the state that comes next and when; the key that signs goes when another takes its place."""
    for step in plan:
        if step.kid == key.kid:
            return KeyState(step.move), step.at
        if key.state is KeyState.ACTIVE and (step.algorithm, step.move) == (key.algorithm, Move.ACTIVATE):
            return KeyState.RETIRING, step.at
    return None


def _time(moment: datetime | None) -> str | None:
    return format_time(moment) if moment is not None else None
