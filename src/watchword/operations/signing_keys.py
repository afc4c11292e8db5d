"""Signing keys are made here, private to the signer: one active key for every algorithm in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watchword.errors import Conflict, Invalid, NoSigningKey
from watchword.operations.context import OperationContext, details
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.keys import LOCAL, KeyState, SigningKey
from watchword.protocol import names
from watchword.server import key_schedule
from watchword.server.custody import Custodies
from watchword.server.node_clocks import compare_clocks


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSigningKey:
    """``algorithm`` is one of ``names.SIGNING_ALGORITHMS``."""

    algorithm: str = names.ES256


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrapSigningKeys:
    """``rewrap`` seals one under the newest master key; ``is_newest`` tells which are so already."""

    rewrap: Callable[[SigningKey], SigningKey]
    is_newest: Callable[[SigningKey], bool]


@operation("key.rewrap")
async def rewrap_signing_keys(context: OperationContext, command: RewrapSigningKeys) -> Sequence[SigningKey]:
    """Have every key that this store holds sealed under the newest master key, all in one moment; return which were not.

    Raises:
        NoSigningKey: one does not open; none is changed.
    """
    old = [key for key in sealed_here(await context.store.signing_keys()) if not command.is_newest(key)]
    if not old:
        return ()
    done = [key_schedule.rewrapped(key, command.rewrap(key).sealed) for key in old]
    await context.commit("rewrapped", *map(store.Replace, done), kid=" ".join(key.kid for key in done))
    return done


def sealed_here(keys: Sequence[SigningKey]) -> Sequence[SigningKey]:
    """Return the keys whose private halves are in the store, sealed."""
    return [key for key in keys if key.custody == LOCAL and key.sealed]


@operation("key.create")
async def create_signing_key(context: OperationContext, command: CreateSigningKey) -> SigningKey:
    """Make the first key of an algorithm; it signs at once.

    Raises:
        Invalid: key.algorithm
        Conflict: key.exists
    """
    algorithm = check_algorithm(context, command.algorithm)
    made = await missing_key(context, algorithm)
    if not made:
        raise Conflict("key.exists", detail=f"There is an active signing key for {algorithm}.")
    (key,) = made
    await context.commit("created", store.Create(key), **facts(key))
    return key


async def missing_key(context: OperationContext, algorithm: str, custody: str = "") -> Sequence[SigningKey]:
    """Return a new active key when the algorithm has none yet, else nothing.

    No verifier knows tokens of this algorithm yet, so there is nobody to wait for: its key set is fetched when the first
    unknown ``kid`` arrives.

    Raises:
        NoSigningKey: the signer cannot make one.
    """
    keys = await context.store.signing_keys()
    if context.signer is None or key_schedule.signing(keys, algorithm) is not None:
        return ()
    made = await generate(context, algorithm, custody)
    return (key_schedule.begin(made, now=(await compare_clocks(context.store, now=context.now)).latest),)


async def known_key(context: OperationContext, algorithm: str) -> Sequence[SigningKey]:
    """Pass if every verifier can have the key that signs with this algorithm: a resource in use may change to it.

    Return what must be stored for it to sign: nothing where it does already.

    Raises:
        Conflict: key.unpublished, key.too_early
    """
    keys = await context.store.signing_keys()
    key = key_schedule.signing(keys, algorithm) or key_schedule.upcoming(keys, algorithm)
    if key is None:
        command = f"`watchword key publish --alg {algorithm}`"
        raise Conflict("key.unpublished", detail=f"No verifier has a key of {algorithm} yet: {command}, wait, repeat.")
    clocks = await compare_clocks(context.store, now=context.now)
    with clocks.explaining():
        key_schedule.check_known(key, times=context.key_times, now=clocks.earliest)
        if key.state is KeyState.ACTIVE:
            return ()
        return key_schedule.activate(keys, key, times=context.key_times, now=clocks.earliest, latest=clocks.latest)


async def generate(context: OperationContext, algorithm: str, custody: str = "") -> SigningKey:
    """Return a new key, prepared, in the custody of the settings unless another is named.

    Raises:
        NoSigningKey: no signer is at hand, or it cannot make one.
    """
    if context.signer is None:
        raise NoSigningKey("keys.no_signer", detail="no signer is at hand")
    if custody and isinstance(context.signer, Custodies):
        return await context.signer.generate_in(custody, algorithm, now=context.now)
    return await context.signer.generate(algorithm, now=context.now)


def check_algorithm(context: OperationContext, algorithm: str | None) -> str:
    """Return the algorithm, or the server's where none is named.

    Raises:
        Invalid: key.algorithm
    """
    chosen = context.default_algorithm if algorithm is None else algorithm
    if chosen not in names.SIGNING_ALGORITHMS:
        raise Invalid("key.algorithm", detail=f"The algorithm is one of {', '.join(names.SIGNING_ALGORITHMS)}.")
    return chosen


def facts(key: SigningKey) -> dict[str, object]:
    """Return what an event tells of a key."""
    return {"kid": key.kid, "details": details(alg=key.algorithm)}
