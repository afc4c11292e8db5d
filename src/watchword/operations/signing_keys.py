"""Signing keys as operators see them: made here, private to the signer, one active key for every algorithm in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchword.errors import Conflict, Invalid
from watchword.operations.context import OperationContext, details
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.keys import KeyState, SigningKey
from watchword.protocol import names


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSigningKey:
    """``algorithm`` is one of ``names.SIGNING_ALGORITHMS``."""

    algorithm: str = names.ES256


@operation("key.create")
async def create_signing_key(context: OperationContext, command: CreateSigningKey) -> SigningKey:
    """Make the first key of an algorithm; it signs at once.

    Raises:
        Invalid: key.algorithm
        Conflict: key.exists
    """
    if command.algorithm not in names.SIGNING_ALGORITHMS:
        raise Invalid("key.algorithm", detail=f"The algorithm is one of {', '.join(names.SIGNING_ALGORITHMS)}.")
    made = await missing_key(context, command.algorithm)
    if not made:
        raise Conflict("key.exists", detail=f"There is an active signing key for {command.algorithm}.")
    (key,) = made
    await context.commit("created", store.Create(key), kid=key.kid, details=details(alg=key.algorithm))
    return key


async def missing_key(context: OperationContext, algorithm: str) -> Sequence[SigningKey]:
    """Return a new active key when the algorithm has none yet, else nothing.

    No verifier knows tokens of this algorithm yet, so there is nobody to wait for: its key set is fetched when the first
    unknown ``kid`` arrives.

    Raises:
        NoSigningKey: the signer cannot make one.
    """
    keys = await context.store.signing_keys()
    if context.signer is None or any(key.algorithm == algorithm and key.state is KeyState.ACTIVE for key in keys):
        return ()
    key = await context.signer.generate(algorithm, now=context.now)
    return (replace(key, state=KeyState.ACTIVE, activated_at=context.now),)
