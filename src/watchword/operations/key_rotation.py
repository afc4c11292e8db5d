"""The life of signing keys, as operators steer it. What may be done when is ``server/key_schedule.py``'s business."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from watchword.errors import Conflict, Missing
from watchword.operations.context import Collision, OperationContext, details
from watchword.operations.operation import operation
from watchword.operations.signing_keys import check_algorithm, facts, generate, missing_key
from watchword.ports import store
from watchword.ports.agents import Resource
from watchword.ports.keys import GONE_STATES, KeyState, SigningKey
from watchword.server import key_schedule
from watchword.server.key_schedule import Step
from watchword.server.node_clocks import compare_clocks

_BATCH: Final = 200
_SHORTEST_PREFIX: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSigningKeys:
    """All of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSigningKey:
    """``algorithm`` is the server's unless given."""

    algorithm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSigningKey:
    """A prepared key by ``kid``, or the next one of an algorithm: the server's unless given."""

    kid: str = ""
    algorithm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateSigningKey:
    """``algorithm`` is the server's unless given."""

    algorithm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireSigningKey:
    """One key, by its ``kid`` or the beginning of it."""

    kid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompromiseSigningKey:
    """One key, by its ``kid`` or the beginning of it; ``reason`` goes into the trail."""

    kid: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewSigningKeys:
    """All that are needed."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key, oldest first, and what is to come."""

    keys: tuple[SigningKey, ...]
    plan: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a rotation does now: its reason in the trail, what is stored, and the key that it is about."""

    reason: str
    changes: tuple[store.Change, ...]
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Compromised:
    """The key that is worth nothing any more, and the one that signs in its place, if it signed."""

    key: SigningKey
    replacement: SigningKey | None


@operation("key.list")
async def list_signing_keys(context: OperationContext, _command: ListSigningKeys) -> Keys:
    """Return every key and the plan."""
    keys = tuple(await context.store.signing_keys())
    return Keys(keys, key_schedule.plan(keys, context.key_times))


@operation("key.prepare")
async def prepare_signing_key(context: OperationContext, command: PrepareSigningKey) -> SigningKey:
    """Make a key that nobody sees yet.

    Raises:
        Invalid: key.algorithm
        NoSigningKey
    """
    key = await generate(context, check_algorithm(context, command.algorithm))
    await context.commit("prepared", store.Create(key), **facts(key))
    return key


@operation("key.publish")
async def publish_signing_key(context: OperationContext, command: PublishSigningKey) -> SigningKey:
    """Put the next key into the key set. It signs when its time comes, or when ``key.rotate`` asks for it.

    Raises:
        Invalid: key.algorithm
        Missing: key.missing
        Conflict: key.published, key.state
        NoSigningKey
    """
    keys = await context.store.signing_keys()
    named = find_key(keys, command.kid) if command.kid else None
    algorithm = named.algorithm if named else check_algorithm(context, command.algorithm)
    following = key_schedule.upcoming(keys, algorithm)
    if following is not None:
        raise Conflict("key.published", detail=f"The next key of {algorithm} is published already: {following.kid}.")
    key, change = await _publish(context, named or key_schedule.prepared(keys, algorithm), algorithm, is_wanted=False)
    await context.commit("published", change, **facts(key))
    return key


@operation("key.rotate")
async def rotate_signing_key(context: OperationContext, command: RotateSigningKey) -> SigningKey:
    """Have the next key sign: now, if every verifier can have it, else as soon as that is so; it is published first.

    Raises:
        Invalid: key.algorithm
        Conflict: key.too_early, where that has been asked for already; signing_key.taken, signing_key.version: somebody else
            has done it at the same moment, and two who ask at once are not to rotate twice.
        NoSigningKey
    """
    algorithm = check_algorithm(context, command.algorithm)
    step = await next_step(context, await context.store.signing_keys(), algorithm)
    return await take_step(context, step, **facts(step.key))


async def take_step(context: OperationContext, step: NextStep, **facts: object) -> SigningKey:
    """Store what is to come next, unless somebody else has done so.

    Raises:
        Conflict: signing_key.taken, signing_key.version
    """
    try:
        await context.commit(step.reason, *step.changes, **facts)
    except Collision as collision:
        sentence = "Somebody else has rotated at the same moment: `watchword key list` shows what came of it."
        raise Conflict(collision.conflict.reason, detail=sentence) from collision
    return step.key


async def next_step(
    context: OperationContext, keys: Sequence[SigningKey], algorithm: str, custody: str = ""
) -> NextStep:
    """Return what brings the next key nearer to signing; if it is yet to be made, or chosen, in this custody, if one is named.

    Raises:
        Conflict: key.too_early
        NoSigningKey
    """
    following, clocks = key_schedule.upcoming(keys, algorithm), await compare_clocks(context.store, now=context.now)
    if following is None:
        if first := await missing_key(context, algorithm, custody):
            return NextStep("created", (store.Create(first[0]),), first[0])
        waiting = key_schedule.prepared([one for one in keys if custody in ("", one.custody)], algorithm)
        key, change = await _publish(context, waiting, algorithm, is_wanted=True, custody=custody)
        return NextStep("published", (change,), key)
    is_early = clocks.earliest < key_schedule.usable_from(following, context.key_times)
    if is_early and following.wanted_at is None and key_schedule.signing(keys, algorithm) is not None:
        key = key_schedule.want(following, now=clocks.latest)
        return NextStep("wanted", (store.Replace(key),), key)
    with clocks.explaining():
        moved = key_schedule.activate(
            keys, following, times=context.key_times, now=clocks.earliest, latest=clocks.latest
        )
    return NextStep("activated", tuple(map(store.Replace, moved)), moved[-1])


@operation("key.retire")
async def retire_signing_key(context: OperationContext, command: RetireSigningKey) -> SigningKey:
    """Take a key out of the key set for ever, once no token of it can be valid; one that signs, where nobody needs it.

    Raises:
        Missing: key.missing
        Conflict: key.active, key.state, key.too_early
    """
    key = find_key(await context.store.signing_keys(), command.kid)
    clocks = await compare_clocks(context.store, now=context.now)
    if key.state is KeyState.ACTIVE and not await _is_used(context, key.algorithm):
        leaving = key_schedule.withdraw(key, now=clocks.latest)
        await context.commit("retiring", store.Replace(leaving), **facts(leaving))
        return leaving
    with clocks.explaining():
        retired = key_schedule.retire(key, times=context.key_times, now=clocks.earliest)
    await context.commit("retired", store.Replace(retired), **facts(retired))
    return retired


@operation("key.compromise")
async def compromise_signing_key(context: OperationContext, command: CompromiseSigningKey) -> Compromised:
    """Take a key out of the key set at once, whatever was signed with it; if it signs, a new one signs in its place.

    The new one is one that nobody had before, not the published one: whoever has the one key may have the other. It is
    unknown to verifiers, so they fetch the key set anew, and find the old key gone.

    Raises:
        Missing: key.missing
        Conflict: key.state
        NoSigningKey
    """
    key = find_key(await context.store.signing_keys(), command.kid)
    bad = key_schedule.compromise(key, now=context.now)
    new = None
    if key.state is KeyState.ACTIVE:
        made = await generate(context, key.algorithm)
        new = key_schedule.begin(made, now=(await compare_clocks(context.store, now=context.now)).latest)
    changes: list[store.Change] = [store.Replace(bad)]
    if new is not None:
        changes.append(store.Create(new))
    said = details(alg=key.algorithm, replacement=new.kid if new else "", reason=command.reason)
    await context.commit("compromised", *changes, kid=key.kid, details=said)
    return Compromised(bad, new)


@operation("key.renew")
async def renew_signing_keys(context: OperationContext, _command: RenewSigningKeys) -> Sequence[SigningKey]:
    """Make new keys for a store in which none signs any more, as for one that was put back; else do nothing.

    What is left of the private halves of those that were there is destroyed.

    Raises:
        NoSigningKey
    """
    keys = await context.store.signing_keys()
    if not keys or any(key.state is KeyState.ACTIVE for key in keys):
        return ()
    algorithms = {context.default_algorithm, *[resource.signing_algorithm async for resource in _resources(context)]}
    made = [key_schedule.begin(await generate(context, name), now=context.now) for name in sorted(algorithms)]
    emptied = [key_schedule.emptied(key) for key in keys if key.state in GONE_STATES and key.sealed]
    changes: list[store.Change] = [*map(store.Create, made), *map(store.Replace, emptied)]
    await context.commit("renewed", *changes, kid=" ".join(key.kid for key in made))
    return made


def find_key(keys: Sequence[SigningKey], kid: str) -> SigningKey:
    """Return the key of this ``kid``, or the only one that begins so.

    Raises:
        Missing: key.missing
    """
    for key in keys:
        if key.kid == kid:
            return key
    found = [key for key in keys if key.kid.startswith(kid)] if len(kid) >= _SHORTEST_PREFIX else []
    if len(found) != 1:
        raise Missing("key.missing", detail="There is no such key, or not only one: `watchword key list`.")
    return found[0]


async def _publish(
    context: OperationContext, waiting: SigningKey | None, algorithm: str, *, is_wanted: bool, custody: str = ""
) -> tuple[SigningKey, store.Change]:
    noted = (await compare_clocks(context.store, now=context.now)).latest
    if waiting is not None:
        key = key_schedule.publish(waiting, now=noted, is_wanted=is_wanted)
        return key, store.Replace(key)
    made = await generate(context, algorithm, custody)
    key = key_schedule.introduce(made, now=noted, is_wanted=is_wanted)
    return key, store.Create(key)


async def _is_used(context: OperationContext, algorithm: str) -> bool:
    if algorithm == context.default_algorithm:
        return True
    return any([resource.signing_algorithm == algorithm async for resource in _resources(context)])


async def _resources(context: OperationContext) -> AsyncIterator[Resource]:
    after = ""
    while found := await context.store.resources(after=after, limit=_BATCH):
        for resource in found:
            yield resource
        after = found[-1].name
