"""What the check of a kind of credentials gives: in a file of its own, for the kinds and their table to share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from watchword.operations.context import OperationContext


@dataclass(frozen=True, slots=True)
class Checked:
    """What is stored of a credential that is no secret: its kind's own JSON object, and the issuer it trusts, if any."""

    details: Mapping[str, object] = field(default_factory=dict)
    trusted_issuer: str | None = None


Check: TypeAlias = "Callable[[OperationContext, Mapping[str, object]], Awaitable[Checked]]"
