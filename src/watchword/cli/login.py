"""The agent's side of the command line: a ``Login`` from a profile, or from what the environment holds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from watchword.client.chain import default
from watchword.client.login import Login


def open_login(profile: str | None, *, scopes: Sequence[str], resource: str | None) -> Login:
    """Return the login of a profile, or, without a name, of the first credential the environment announces.

    Raises:
        LoginMisconfigured: there is none, or it cannot be used.
    """
    environ = dict(os.environ)
    if profile is not None:
        environ |= {"WATCHWORD_PROFILE": profile, "WATCHWORD_CREDENTIALS": "profile"}
    return default(scope=tuple(scopes) or None, resource=resource, environ=environ)
