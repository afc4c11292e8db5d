"""``python -m watchword`` is the command ``watchword``."""

from __future__ import annotations

from watchword.cli import main

if __name__ == "__main__":
    main()
