"""Signing keys move to another custody by ordinary rotation: one is made there, published, and signs when it may."""

from __future__ import annotations

from dataclasses import dataclass

from watchword.errors import Conflict, Invalid, NoSigningKey
from watchword.operations.context import OperationContext, details
from watchword.operations.key_rotation import next_step, take_step
from watchword.operations.operation import operation
from watchword.operations.signing_keys import check_algorithm
from watchword.ports.keys import LOCAL, SigningKey
from watchword.server import key_schedule
from watchword.server.custody import Custodies


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateSigningKey:
    """``custody`` is where the next key is to be; ``algorithm`` is the server's unless given."""

    custody: str
    algorithm: str | None = None


@operation("key.migrate")
async def migrate_signing_key(context: OperationContext, command: MigrateSigningKey) -> SigningKey:
    """Have the next key of an algorithm made in this custody, published, and sign as soon as every verifier can have it.

    It signs once for nobody before anything is stored: a custody that makes keys and does not sign is found out here. Until
    its time the key before it signs where it is. Asked again, this does what ``key.rotate`` does.

    Raises:
        Invalid: key.algorithm, key.custody (it is not configured here)
        Conflict: key.held (the key that signs is there already), key.published (the next key is published, and elsewhere),
            key.too_early; signing_key.taken, signing_key.version: somebody else has done it at the same moment.
        NoSigningKey, CustodyUnavailable
    """
    algorithm, custody = check_algorithm(context, command.algorithm), _check_custody(context, command.custody)
    keys = await context.store.signing_keys()
    active, following = key_schedule.signing(keys, algorithm), key_schedule.upcoming(keys, algorithm)
    if following is not None and following.custody != custody:
        sentence = (
            f"The next key of {algorithm} is published already, in the custody {following.custody!r}: {following.kid}. "
            "Let it sign first, or take it out with `watchword key retire`, and repeat."
        )
        raise Conflict("key.published", detail=sentence)
    if following is None and active is not None and active.custody == custody:
        raise Conflict("key.held", detail=f"The key that signs with {algorithm} is in the custody {custody!r} already.")
    step = await next_step(context, keys, algorithm, custody)
    if following is None:
        await _try_out(context, step.key)
    return await take_step(context, step, kid=step.key.kid, details=details(alg=algorithm, custody=custody))


def _check_custody(context: OperationContext, custody: str) -> str:
    names = context.signer.names if isinstance(context.signer, Custodies) else (LOCAL,)
    if custody not in names:
        sentence = (
            f"This server has no such custody, but {', '.join(names)}: add its settings, on every node, and restart."
        )
        raise Invalid("key.custody", detail=sentence)
    return custody


async def _try_out(context: OperationContext, key: SigningKey) -> None:
    if context.signer is None:
        raise NoSigningKey("keys.no_signer", detail="no signer is at hand")
    await context.signer.sign(key, b"readiness")
