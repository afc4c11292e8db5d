"""Step 8 of the demo: a secret is replaced while it is in use, and nobody stops."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from stage import Agent, Stage, tell

import watchword

OVERLAP = 5
"""Seconds. Outside of a demo: a day."""


def a_secret_is_replaced_with_an_overlap(stage: Stage, reader: Agent) -> Agent:
    """Return the agent with its new secret."""
    file = stage.folder / "reader.secret"
    put(file, reader.client_secret)
    client = watchword.ClientSecretBasic.from_file(reader.client_id, file)
    login = watchword.Login(issuer=stage.issuer, client=client, scope="read:data", resource="my-api")
    stage.check("a program works with the secret in a file", 200, stage.read_note(login.token()).status_code)
    new = stage.operator("credential", "rotate", "reader", "--overlap", f"{OVERLAP}s")
    rotated = Agent(reader.client_id, str(new["client_secret"]))
    tell(*stage.watchword("credential", "list", "reader").splitlines())
    stage.check("meanwhile the old secret works", 200, ask(stage, reader))
    stage.check("and so does the new one", 200, ask(stage, rotated))
    put(file, rotated.client_secret)
    replaced = new["replaces"]
    assert isinstance(replaced, dict)
    ends_at = datetime.fromisoformat(str(replaced["expires_at"]))
    time.sleep(max(0.0, (ends_at - datetime.now(UTC)).total_seconds()) + 0.05)
    stage.check("after the overlap the old secret opens nothing", 401, ask(stage, reader))
    stage.check("the new one does", 200, ask(stage, rotated))
    login.invalidate(login.token())
    stage.check("the program took it from its file, without a restart", 200, stage.read_note(login.token()).status_code)
    return rotated


def ask(stage: Stage, agent: Agent) -> int:
    return stage.http.post(
        f"{stage.issuer}/oauth/token",
        auth=(agent.client_id, agent.client_secret),
        data={"grant_type": "client_credentials", "scope": "read:data", "audience": "my-api"},
    ).status_code


def put(file: Path, secret: str) -> None:
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(secret)
    draft.replace(file)
