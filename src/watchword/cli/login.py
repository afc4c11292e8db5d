"""The agent's side of the command line: a ``Login`` from a profile, or from what the environment holds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from watchword.client.chain import default, find_credential
from watchword.client.dpop_key import find_dpop
from watchword.client.login import Login


def open_login(
    profile: str | None, *, scopes: Sequence[str], resource: str | None, is_for_others: bool = False
) -> Login:
    """Return the login of a profile, or, without a name, of the first credential the environment announces.

    A token that is for another process is bound to a key only where that is asked for.

    Raises:
        LoginMisconfigured: there is none, or it cannot be used.
    """
    environ = dict(os.environ)
    if profile is not None:
        environ |= {"WATCHWORD_PROFILE": profile, "WATCHWORD_CREDENTIALS": "profile"}
    is_plain = is_for_others and find_dpop(environ, find_credential(environ)[0].dpop) is None
    return default(scope=tuple(scopes) or None, resource=resource, environ=environ, dpop=False if is_plain else None)
