"""The unit of systemd: what systemd says of it, and what it says of the server, tried on the server."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.deploy.proxies import ROOT, replaced
from tests.processes import environment
from tests.whole.server_process import PROGRAM, Serving, initialised
from watchword.adapters.master_key import CREDENTIAL_NAME
from watchword.settings import ServerSettings

UNIT = ROOT / "deploy" / "systemd" / "watchword.service"
MOST_EXPOSED = 1.5
"""systemd's own measure, from 0 (nothing can be reached) to 10."""


def unit() -> dict[str, list[str]]:
    """The settings of the unit; of a name that stands there more than once, all values."""
    values: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def analyze(*arguments: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit as shipped, with a program that is on this machine."""
    program = tmp_path / "watchword"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / UNIT.name
    copy.write_text(replaced(UNIT.read_text(), {"/opt/watchword/bin/watchword": str(program)}))
    return copy


def test_systemd_understands_every_line(here: Path) -> None:
    assert analyze("verify", "--man=no", str(here)) == ""


def test_systemd_finds_it_little_exposed(here: Path) -> None:
    said = analyze("security", "--offline=true", "--no-pager", str(here))
    (level,) = [line.split(":")[1].split()[0] for line in said.splitlines() if "Overall exposure level" in line]
    assert float(level) <= MOST_EXPOSED


def test_it_is_given_the_time_to_drain_and_is_killed_whole() -> None:
    values = unit()
    drain = ServerSettings.model_fields["drain_timeout"].default
    assert int(values["TimeoutStopSec"][0]) > drain
    assert values["KillMode"] == ["mixed"]


def test_it_starts_with_the_key_that_systemd_hands_on_and_reloads_and_stops_as_the_unit_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = unit()
    assert values["ExecStart"] == ["/opt/watchword/bin/watchword serve --data /var/lib/watchword"]
    assert values["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    data = initialised(tmp_path, "http://127.0.0.1:8020")
    (handed,) = values["LoadCredential"]
    name, _, _ = handed.partition(":")
    assert name == CREDENTIAL_NAME
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    (data / "master.key").rename(credentials / name)
    (credentials / name).chmod(0o440)  # as systemd shows it
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with Serving(tmp_path, ["--listen", "127.0.0.1:0"]) as serving:
        assert serving.probe("/readyz").status_code == 200
        serving.process.send_signal(signal.SIGHUP)
        assert serving.probe("/readyz").status_code == 200
        assert serving.stop() == 0


def test_settings_that_cannot_be_used_are_not_tried_again(tmp_path: Path) -> None:
    lasting = {int(code) for code in unit()["RestartPreventExitStatus"][0].split()}
    missing = subprocess.run(
        [*PROGRAM, "serve", "--data", str(tmp_path / "nowhere")],
        env=environment(tmp_path),
        capture_output=True,
        check=False,
    )
    initialised(tmp_path, "http://127.0.0.1:8020")
    unusable = subprocess.run(
        [*PROGRAM, "serve", "--data", str(tmp_path / "data"), "--listen", "nonsense"],
        env=environment(tmp_path),
        capture_output=True,
        check=False,
    )
    assert {missing.returncode, unusable.returncode} == lasting
