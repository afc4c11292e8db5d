"""What the compose file and the chart tell a node, told to nodes of this machine: they serve from that alone."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.deploy.test_compose import service
from tests.deploy.test_docker import last_stage
from tests.deploy.test_helm import ALL, pods, rendered
from tests.postgres import new_database
from tests.processes import environment, run
from tests.redis import RedisServer
from tests.whole import server_process
from tests.whole.server_process import PROGRAM, Serving

PASSWORD = secrets.token_hex(24)
MASTER_KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a cache that is started as the compose file says."""
    command = " ".join(service("cache")["command"])
    (options,) = re.findall(r'redis-server --requirepass "[^"]+" (.+)$', command)
    folder = tmp_path_factory.mktemp("cache")
    with RedisServer(folder, "--requirepass", PASSWORD, *options.split()) as running:
        yield running.url.replace("redis://", f"redis://:{PASSWORD}@")


class Nodes:
    """Runs commands and nodes with nothing but these variables and empty directories."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = dict(variables)

    def command(self, *arguments: str) -> dict[str, Any]:
        env = environment(self.folder, **self.variables)
        answer = json.loads(run([*PROGRAM, "-o", "json", *arguments], env=env, cwd=self.folder))
        assert isinstance(answer, dict)
        return answer

    @contextlib.contextmanager
    def node(self, name: str, arguments: Sequence[str]) -> Iterator[Serving]:
        (self.folder / name / "data").mkdir(parents=True, mode=0o700)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server_process, "environment", lambda home, **more: environment(home, **self.variables))
            serving = Serving(self.folder / name, list(arguments))
        with serving:
            yield serving


def gives_a_token(nodes: Nodes, init: Sequence[str], serve: Sequence[str]) -> None:
    """Make the store as ``init`` says, serve it with two nodes, register at the store, log in at the second one."""
    made = nodes.command(*init)
    assert made["operator_token"].startswith("wwo_")
    with nodes.node("one", serve) as one, nodes.node("two", serve) as two:
        data = ["--data", str(nodes.folder / "one" / "data")]
        nodes.command(*data, "resource", "create", "my-api", "--scope", "read:data")
        agent = nodes.command(*data, "agent", "create", "reader", "--resource", "my-api", "--scope", "read:data")
        for node in (one, two):
            assert node.probe("/readyz").status_code == 200
            answer = httpx2.post(
                f"http://127.0.0.1:{node.address[1]}/oauth/token",
                data={"grant_type": "client_credentials", "scope": "read:data"},
                auth=(agent["client_id"], agent["client_secret"]),
                headers={"host": "auth.example.com"},
            )
            assert answer.status_code == 200, answer.text


def test_the_nodes_of_the_compose_file_serve_what_its_init_made(tmp_path: Path, cache: str) -> None:
    given = tmp_path / "secrets"
    given.mkdir(mode=0o700)
    contents = {"master-key": MASTER_KEY, "database-url": new_database(), "cache-url": cache}
    for name, text in contents.items():
        (given / name).write_text(f"{text}\n")
        (given / name).chmod(0o400)
    told = {name: value.replace("/run/secrets", str(given)) for name, value in service("node1")["environment"].items()}
    init = [part.replace("/tmp", str(tmp_path)) for part in service("init")["command"]]
    (command,) = map(json.loads, last_stage()["CMD"])
    gives_a_token(Nodes(tmp_path, told), init, [part.replace(":8020", ":0") for part in command[1:]])


def test_the_pods_of_the_chart_serve_what_its_job_made(tmp_path: Path, cache: str, helm: Any) -> None:
    pod, made = pods(rendered(helm, {**ALL, "workers": 1}))
    node, job, before = pod["containers"][0], made["containers"][0], pod["initContainers"][0]
    assert node["env"] == job["env"]
    handed = tmp_path / "credentials"
    handed.mkdir()
    (handed / "watchword-master-key").write_text(MASTER_KEY)
    (handed / "watchword-master-key").chmod(0o440)
    values = {"watchword-database": new_database(), "watchword-cache": cache}
    told = {}
    for one in node["env"]:
        told[one["name"]] = one.get("value") or values[one["valueFrom"]["secretKeyRef"]["name"]]
    told["CREDENTIALS_DIRECTORY"] = str(handed)
    init = [part.replace("/tmp", str(tmp_path)) for part in job["args"]]
    serve = [part.replace(":8020", ":0").replace("0.0.0.0:8022", "127.0.0.1:0") for part in node["args"][1:]]
    nodes = Nodes(tmp_path, told)
    gives_a_token(nodes, init, serve)
    (tmp_path / "empty").mkdir()
    assert nodes.command("--data", str(tmp_path / "empty"), *before["args"])["applied"] == 0
