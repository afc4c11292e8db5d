"""A new agent's ``client_id``: a slug of its name, a hyphen, eight random characters; never given twice."""

from __future__ import annotations

import re
import secrets
import string
from typing import Final

from watchword.operations.context import OperationContext

_ALPHABET: Final = string.ascii_lowercase + string.digits
_SUFFIX_LENGTH: Final = 8


async def new_client_id(context: OperationContext, name: str) -> str:
    """Return one that nobody has, or had, and that nobody is called by: names and ids both find an agent."""
    slug = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
    while True:
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX_LENGTH))
        client_id = f"{slug}-{suffix}"
        if await context.store.find_agent(client_id) is None:
            return client_id
