"""Who runs this process, as the system knows it: what the environment says of it, anybody can write."""

from __future__ import annotations

import os
import pwd


def local_user() -> str:
    """Return the real user's name, or the number of one that has no name here, as in many containers."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
