"""Three client programs as the world's tutorials have them: every line as it stands, but for host and credentials.

The files in ``published/`` are fragments. What is put around one here is the least that lets it run.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

from tests.interop.claims import check_claims
from tests.interop.programs import Go, Node
from tests.interop.verifying import with_joserfc, with_pyjwt
from tests.processes import Agent, RunningServer, environment, run

PUBLISHED = Path(__file__).parent / "published"


def fragment(name: str, server: RunningServer, agent: Agent) -> str:
    """Return a published fragment with this server's host and this agent's credentials."""
    text = (PUBLISHED / name).read_text()
    for placeholder, value in (
        ("https://auth.example.com", server.issuer),
        ("your_client_id", agent.client_id),
        ("your_client_secret", agent.client_secret),
    ):
        text = text.replace(placeholder, value)
    return text


def test_node_with_axios_and_jose(node: Node, running_server: RunningServer, reader: Agent, tmp_path: Path) -> None:
    credentials = f"const CLIENT_ID = '{reader.client_id}', CLIENT_SECRET = '{reader.client_secret}';"
    text = fragment("node.js.txt", running_server, reader)
    program = f"{credentials}\n(async () => {{\n{text}}})();\n"  # CommonJS has no await outside a function
    printed = node.run("program.cjs", program, folder=tmp_path)
    label, _, payload = printed.partition(": ")
    assert label == "Token payload"
    check_claims(yaml.safe_load(payload), running_server, reader)  # what Node.js prints of a flat object is YAML


def test_python_with_requests(running_server: RunningServer, reader: Agent, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(fragment("python.py.txt", running_server, reader))
    printed = re.fullmatch(
        r"Access token: (\S+)\n", run([sys.executable, "program.py"], env=environment(tmp_path), cwd=tmp_path)
    )
    assert printed is not None
    token = printed.group(1)
    check_claims(with_pyjwt(token, running_server), running_server, reader)
    check_claims(with_joserfc(token, running_server), running_server, reader)


def test_go_with_net_http(go: Go, running_server: RunningServer, reader: Agent, tmp_path: Path) -> None:
    text = fragment("go.go.txt", running_server, reader)
    program = f'package main\n\nimport "strings"\n\n{text}\nfunc main() {{ getToken() }}\n'
    (tmp_path / "program.go").write_text(program)
    answer = json.loads(go.run_file(tmp_path / "program.go", folder=tmp_path))
    assert {name: answer[name] for name in answer if name != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "read:data",
    }
    check_claims(with_pyjwt(answer["access_token"], running_server), running_server, reader)
