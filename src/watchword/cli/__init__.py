"""The command line: it parses, calls the admin API and prints. The decisions are made elsewhere.

The entry point is part of the base install; what it needs to run comes with ``watchword[server]`` and is imported late.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    if find_spec("typer") is None:
        sys.stderr.write(
            'watchword: the command line is not installed. Install it with: pip install "watchword[server]"\n'
        )
        sys.exit(1)
    from watchword.cli.app import run

    sys.exit(run(sys.argv[1:]))
