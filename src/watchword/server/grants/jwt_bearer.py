"""The token of an outside issuer as the grant: the agent that it logs in asks for itself. RFC 7523 §2.1.

Who that is was found before (``server/authentication/federated.py``), as for every other grant; so all that holds of an agent
holds here.
"""

from __future__ import annotations

from watchword.protocol import names
from watchword.server.grants import Grant
from watchword.server.grants.client_credentials import propose

JWT_BEARER = Grant(names.JWT_BEARER, propose)
