"""A token of SoftHSM2 in a folder of a test's own, in a process of its own where two tests must not share a library."""

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PIN = "471108150815"
LABEL = "watchword tests"
_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


def module() -> Path:
    """Return the library, or skip."""
    found = next((Path(place) for place in _PLACES if Path(place).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM2 (Debian: apt-get install softhsm2)")
    return found


def configure(folder: Path) -> dict[str, str]:
    """Return the environment of who uses tokens in this folder."""
    module()
    (folder / "tokens").mkdir(parents=True, exist_ok=True)
    path = folder / "softhsm2.conf"
    path.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return {"SOFTHSM2_CONF": str(path)}


def make_token(environment: dict[str, str], label: str = LABEL, pin: str = PIN) -> None:
    """Make a token."""
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "12345678"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})


_shared: list[Path] = []


def shared_token(label: str = LABEL, pin: str = PIN) -> Path:
    """Make a token in the folder that this process has for tests, and return the library. A library has one folder for ever."""
    library = module()
    if not _shared:
        folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ.update(configure(folder))
        _shared.append(folder)
    if label not in _made:
        make_token({}, label, pin)
        _made.add(label)
    return library


_made: set[str] = set()


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of a server whose keys are in a new token below this folder."""
    found = configure(folder / "hsm")
    make_token(found)
    pin = folder / "pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    return found | {
        "WATCHWORD_SERVER__CUSTODY": "pkcs11",
        "WATCHWORD_SERVER__PKCS11_MODULE": str(module()),
        "WATCHWORD_SERVER__PKCS11_TOKEN": LABEL,
        "WATCHWORD_SERVER__PKCS11_PIN_FILE": str(pin),
    }
