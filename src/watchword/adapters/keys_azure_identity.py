"""With what Azure Key Vault is asked: a token for a registered application, or for the identity of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from watchword.adapters.keys_bearer import Lent, lifetime, read_secret
from watchword.adapters.keys_http import ask, refuse, text_member
from watchword.ports.http import Transport

CUSTODY: Final = "Microsoft Entra ID"
METADATA: Final = "http://169.254.169.254"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_REASONS: Final[Mapping[int, str]] = {
    400: "custody.denied",
    401: "custody.denied",
    403: "custody.denied",
    404: "custody.denied",
    429: "custody.throttled",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureIdentity:
    """An application of a tenant, with a secret or a token of its platform in a file; without a tenant the machine's identity."""

    tenant: str = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    federated_token_file: Path | None = None
    authority: str = "https://login.microsoftonline.com"
    metadata_url: str = METADATA

    async def token(self, transport: Transport, resource: str) -> Lent:
        """Return a token for ``resource``.

        Raises:
            CustodyUnavailable: none is lent.
        """
        if self.tenant:
            url = f"{self.authority}/{self.tenant}/oauth2/v2.0/token"
            answer = await ask(transport, CUSTODY, "POST", url, {}, form=self._form(resource))
        else:
            query = {"api-version": "2018-02-01", "resource": resource}
            if self.client_id:
                query["client_id"] = self.client_id
            url = f"{self.metadata_url}/metadata/identity/oauth2/token?{urlencode(query)}"
            answer = await ask(transport, CUSTODY, "GET", url, {"metadata": "true"})
        if not answer.is_good:
            raise refuse(CUSTODY, answer, _REASONS)
        return Lent(text_member(CUSTODY, answer.content, "access_token"), lifetime(answer.content.get("expires_in")))

    def _form(self, resource: str) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "client_id": self.client_id, "scope": f"{resource}/.default"}
        if self.federated_token_file is not None:
            token = read_secret(self.federated_token_file, "the token of this workload")
            return {**form, "client_assertion_type": _ASSERTION, "client_assertion": token}
        file = self.client_secret_file or Path()
        return {**form, "client_secret": read_secret(file, "the secret of the application")}
