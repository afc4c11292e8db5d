"""What is known of the issuers that workloads come with: which claims say for certain who it is, and how old a token gets.

Names are given again after they were given up: an organisation, a repository, a project. The numbers behind them are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from watchword.protocol import names

GENERIC: Final = "oidc"
SPIFFE: Final = "spiffe"
SPIFFE_SCHEME: Final = "spiffe://"
ALGORITHMS: Final = (names.RS256, names.ES256, names.PS256, names.ES384, names.ED25519)
"""What an issuer's tokens may be signed with unless its trust says less."""

_AWS: Final = "/https:~1~1sts.amazonaws.com~1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One kind of issuer.

    A rule must name the ``demanded`` claims, the ``exact`` ones without a star, and all claims of one set of ``one_of``.
    ``issuer`` and ``jwks_uri`` are given where the whole world has the same. ``has_jti``: each token has one of its own, so
    that it may be made to work once.
    """

    name: str
    demanded: tuple[str, ...]
    exact: tuple[str, ...]
    one_of: tuple[tuple[str, ...], ...] = ()
    max_age: timedelta = timedelta(hours=1)
    issuer: str = ""
    jwks_uri: str = ""
    has_jti: bool = True


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(name=GENERIC, demanded=("sub",), exact=()),
            Preset(name="kubernetes", demanded=("sub",), exact=("sub",)),
            Preset(
                name="github",
                issuer="https://token.actions.githubusercontent.com",
                demanded=("repository_id", "repository_owner_id"),
                exact=("repository_id", "repository_owner_id"),
                one_of=(("environment",), ("ref", "event_name")),
                max_age=timedelta(minutes=15),
            ),
            Preset(
                name="gitlab",
                issuer="https://gitlab.com",
                demanded=("project_id", "namespace_id"),
                exact=("project_id", "namespace_id"),
                one_of=(("environment", "environment_protected"), ("ref_protected",), ("ref", "ref_type")),
            ),
            Preset(
                name="google",
                issuer="https://accounts.google.com",
                jwks_uri="https://www.googleapis.com/oauth2/v3/certs",
                demanded=("sub",),
                exact=("sub",),
                has_jti=False,
            ),
            Preset(
                name="azure", demanded=("oid", "tid"), exact=("oid", "tid"), max_age=timedelta(days=1), has_jti=False
            ),
            Preset(name="aws", demanded=("sub", f"{_AWS}/aws_account"), exact=("sub", f"{_AWS}/aws_account")),
            Preset(name=SPIFFE, demanded=("sub",), exact=(), has_jti=False),
        )
    }
)


def preset_of(issuer: str) -> str:
    """Return the preset that an issuer is known to be, or the generic one."""
    if issuer.startswith(SPIFFE_SCHEME):
        return SPIFFE
    if issuer.startswith(("https://login.microsoftonline.com/", "https://sts.windows.net/")):
        return "azure"
    if issuer.startswith("https://") and issuer.endswith(".tokens.sts.global.api.aws"):
        return "aws"
    return next((preset.name for preset in PRESETS.values() if preset.issuer == issuer), GENERIC)
