"""What an operator says of a federated credential: whose word is taken, and for whom."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import Invalid, Missing
from watchword.operations.checked import Checked
from watchword.operations.context import OperationContext
from watchword.ports.issuers import TrustedIssuer
from watchword.protocol.claim_rules import ClaimRule, InvalidRule
from watchword.protocol.federation_presets import GENERIC, SPIFFE, preset_of


async def find_trusted_issuer(context: OperationContext, name: str) -> TrustedIssuer:
    """Return the trusted issuer of this name.

    Raises:
        Missing: trusted_issuer.missing
    """
    trusted = await context.store.trusted_issuer(name)
    if trusted is None:
        raise Missing("trusted_issuer.missing", detail="There is no trusted issuer of this name.")
    return trusted


async def check_federated(context: OperationContext, said: Mapping[str, object]) -> Checked:
    """Return the rule as it is stored. What is known of an issuer cannot be said otherwise.

    Raises:
        Invalid: federated.*
        Missing: trusted_issuer.missing
    """
    name = said.get("trusted_issuer")
    if not isinstance(name, str) or not name:
        raise Invalid("federated.trusted_issuer", detail="trusted_issuer is the name of a trusted issuer.")
    trusted = await find_trusted_issuer(context, name)
    known = preset_of(trusted.issuer)
    rule = {"preset": known, **{member: value for member, value in said.items() if member != "trusted_issuer"}}
    if known != GENERIC and rule["preset"] != known:
        raise Invalid("federated.preset", detail=f"Rules for {trusted.issuer} are of the preset {known}.")
    try:
        checked = ClaimRule.from_details(rule)
    except InvalidRule as error:
        raise Invalid(error.reason, detail=error.detail) from error
    if known == SPIFFE:
        _check_trust_domain(checked, trusted)
    return Checked(checked.to_details(), trusted.name)


def _check_trust_domain(rule: ClaimRule, trusted: TrustedIssuer) -> None:
    for value in rule.claims["sub"]:
        if not str(value).startswith(trusted.issuer + "/"):
            raise Invalid("federated.value", detail=f"sub begins with {trusted.issuer}/.")
