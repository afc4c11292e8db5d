"""What the admin API takes to rotate a credential."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, StrictInt, StrictStr

from watchword.asgi.admin_models import Timestamp, Ways
from watchword.errors import Invalid
from watchword.operations.credential_rotation import DEFAULT_OVERLAP, RotateCredential
from watchword.ports.agents import CredentialKind


class Rotation(Ways):
    """Another credential of the same kind: of a secret nothing is said, of the other kinds what the new one is.

    The old one ends after `overlap` seconds, or once it was unused for `silence` seconds and the new one was used. Without
    `expires_at` the new one lives for as long as the old one was to live."""

    overlap: StrictInt = Field(default=int(DEFAULT_OVERLAP.total_seconds()), examples=[86400])
    silence: StrictInt | None = Field(default=None, examples=[3600])
    label: StrictStr | None = Field(default=None, examples=["rotation 2027-01"])
    expires_at: Timestamp | None = None

    def to_command(self, ref: str, credential_id: str) -> RotateCredential:
        """Return the command.

        Raises:
            Invalid: credential.details: more than one kind is named.
        """
        said = {name: value for name in Ways.model_fields if (value := getattr(self, name)) is not None}
        if len(said) > 1:
            raise Invalid("credential.details", detail="A rotation has one new credential: name one kind.")
        kind = next(iter(said), None)
        return RotateCredential(
            ref=ref,
            credential_id=credential_id,
            kind=None if kind is None else CredentialKind(kind),
            details=said[kind] if kind else {},
            label=self.label,
            expires_at=self.expires_at,
            overlap=_seconds(self.overlap),
            silence=None if self.silence is None else _seconds(self.silence),
        )


def _seconds(number: int) -> timedelta:
    """Return a duration; one that no clock could measure is as wrong as it was."""
    return timedelta(seconds=max(-1, min(number, 10**10)))
