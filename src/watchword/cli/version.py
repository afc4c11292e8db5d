"""``watchword version``."""

from __future__ import annotations

import platform

from watchword import __version__
from watchword.cli.options import Group
from watchword.cli.output import JSON, TABLE, YAML, print_value, write
from watchword.cli.session import Session


def add_commands(root: Group) -> None:
    """Add ``version`` to the tree."""
    root.command("version", forms=(TABLE, JSON, YAML))(version)


async def version(session: Session) -> None:
    """Print the version of watchword."""
    if session.form == TABLE:
        write(f"watchword {__version__}")
    else:
        print_value({"version": __version__, "python": platform.python_version()}, session.form)
