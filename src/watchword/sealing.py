"""Where the master key is: under it everything is sealed and hashed that the store must not be able to tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from watchword.adapters.master_key import MasterKey, load_master_key
from watchword.settings import ServerSettings

MASTER_KEY_FILE: Final = "master.key"


def find_master_key(settings: ServerSettings) -> MasterKey:
    """Return the master key from the setting, systemd's credentials directory, or the data directory."""
    value = settings.master_key.get_secret_value() if settings.master_key is not None else None
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return load_master_key(
        settings.master_key_file or settings.data / MASTER_KEY_FILE,
        value=value,
        credentials_directory=Path(directory) if directory else None,
    )
