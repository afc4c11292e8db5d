"""The lock files: complete, pinned by hash, and tied to no registry."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import rule

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[^\s;]+)[^\n]*\\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n)+)",
    re.MULTILINE,
)
PINNED = {canonicalize_name(entry["name"]): entry["version"] for entry in ENTRY.finditer(LOCK)}
DECLARED = [
    *PROJECT["project"]["dependencies"],
    *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
    *PROJECT["dependency-groups"]["dev"],
    *PROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("declared", DECLARED)
def test_what_is_declared_is_pinned_to_a_version_that_serves(declared: str) -> None:
    requirement = Requirement(declared)
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)]), "run ./scripts/lock"


@rule("DR-15")
def test_every_pin_has_hashes() -> None:
    pins = re.findall(r"^[\w.-]+==", LOCK, re.MULTILINE)
    assert pins
    assert len(pins) == len(PINNED)


def test_no_lock_names_a_registry() -> None:
    assert "://" not in LOCK
    packages = json.loads((ROOT / "tests" / "interop" / "node" / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for name, package in packages.items() if name)
