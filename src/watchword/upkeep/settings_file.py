"""Changing one line of a ``watchword.toml`` that people write, too."""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from pathlib import Path

from watchword.errors import BadSettings


def write_setting(file: Path, name: str, value: str) -> None:
    """Change the one line of the section ``server``, or add it; whatever else stands in the file stays as it is.

    ``value`` is as it stands in TOML.

    Raises:
        BadSettings: settings.file; the file is of a form that cannot be changed line by line.
    """
    line = f"{name} = {value}"
    wanted = tomllib.loads(line)[name]
    before = file.read_text(encoding="utf-8") if file.exists() else "[server]\n"
    after, count = re.subn(rf"^[ \t]*{name}[ \t]*=.*$", lambda _: line, before, count=1, flags=re.MULTILINE)
    if not count:
        after = re.sub(r"^\[server\][^\n]*$", lambda found: f"{found[0]}\n{line}", before, count=1, flags=re.MULTILINE)
    if _read(after, name) != wanted:
        raise BadSettings("settings.file", detail=f"{file} cannot be changed by a program: write {line} into it.")
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(after)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _read(text: str, name: str) -> object:
    try:
        section = tomllib.loads(text).get("server")
    except tomllib.TOMLDecodeError:
        return None
    return section.get(name) if isinstance(section, dict) else None
