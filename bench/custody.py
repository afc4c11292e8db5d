"""Signatures of a PKCS #11 token, as the server asks for them, beside one session that does nothing else: SoftHSM2.

``python -m bench.custody LIBRARY TOKEN PIN ROUNDS`` prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figures import Report, Row
from watchword.adapters.keys_pkcs11 import Pkcs11Signer
from watchword.protocol import names
from watchword.server.custody_guard import Guard

if TYPE_CHECKING:
    from bench.servers import Bench
    from watchword.adapters.keys_pkcs11_session import TokenSession

_LIBRARIES: Final = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
_TOKEN, _PIN = "bench", "471108150815"
_SIGNATURES: Final = 2_000
_AT_ONCE: Final = 64
_MESSAGE: Final = b"m" * 600


def custody(bench: Bench) -> Report:
    """ES256 by a token, through guard and thread, beside the bare session in a loop."""
    report = Report(f"custody: ES256 in SoftHSM2, {_AT_ONCE} at once")
    library = next((place for place in _LIBRARIES if Path(place).exists()), None)
    if library is None or shutil.which("softhsm2-util") is None:
        report.missing.append("SoftHSM2 (Debian: apt-get install softhsm2)")
        return report
    folder = bench.scratch / "softhsm"
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    make = ["softhsm2-util", "--init-token", "--free", "--label", _TOKEN, "--pin", _PIN, "--so-pin", _PIN]
    subprocess.run(make, check=True, capture_output=True, env=environment)
    command = [sys.executable, "-m", "bench.custody", library, _TOKEN, _PIN, str(bench.rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    bare, ours = json.loads(done.stdout)
    ratio = statistics.median(b / a for a, b in zip(bare, ours, strict=True))
    report.add(
        [
            Row(name="one bare session", value=statistics.median(bare), unit="/s"),
            Row(name="as the server signs", value=statistics.median(ours), unit="/s"),
            Row(name="as the server signs / one bare session", value=ratio, unit="x", at_least=0.8),
        ]
    )
    return report


async def _measure(library: str, token: str, pin: str, rounds: int) -> tuple[list[float], list[float]]:
    signer = Pkcs11Signer(Path(library), token, pin)
    guard = Guard("pkcs11", signer)
    key = await guard.generate(names.ES256, now=datetime.now(UTC))
    reference = key.sealed

    def bare(session: TokenSession) -> float:
        from watchword.adapters.keys_pkcs11_session import to_sign

        data, begun = to_sign(names.ES256, _MESSAGE), time.perf_counter()
        for _ in range(_SIGNATURES):
            session.sign(reference, names.ES256, data)
        return _SIGNATURES / (time.perf_counter() - begun)

    async def ask() -> None:
        for _ in range(_SIGNATURES // _AT_ONCE):
            await guard.sign(key, _MESSAGE)

    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        found[0].append(await signer.ask(bare))
        begun = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
        found[1].append(_SIGNATURES // _AT_ONCE * _AT_ONCE / (time.perf_counter() - begun))
    return found


if __name__ == "__main__":
    import uvloop

    sys.stdout.write(json.dumps(uvloop.run(_measure(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))))
