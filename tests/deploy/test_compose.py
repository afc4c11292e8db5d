"""The compose file: read by a parser of the compose specification, and what must be so of its services and networks."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from typing import Any

import pytest
import yaml

from tests import rule
from tests.deploy.proxies import ROOT, replaced
from watchword.environment import SERVER_VARIABLES
from watchword.settings import ServerSettings

FOLDER = ROOT / "deploy" / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
NODES = ("node1", "node2", "init")
NGINX = {
    "127.0.0.1:8020": "node1:8020",
    "127.0.0.1:8021": "node2:8020",
    "/var/log/nginx/watchword.log": "/dev/stdout",
}
"""What the proxy's configuration differs in from that of ``deploy/nginx``."""


def service(name: str) -> dict[str, Any]:
    """A service with what it extends."""
    own = SERVICES[name]
    return {**service(own["extends"]["service"]), **own} if "extends" in own else own


def test_it_is_what_the_compose_specification_says() -> None:
    if importlib.util.find_spec("compose_spec") is None:
        pytest.skip("needs compose-spec")
    from compose_spec import PyCompose

    assert sorted(PyCompose.from_yaml(TEXT).service_names()) == sorted(SERVICES)


def test_there_are_two_nodes_with_data_of_their_own() -> None:
    assert service("node1")["volumes"] != service("node2")["volumes"]
    assert {service(name)["image"] for name in NODES} == {"watchword:latest"}
    assert service("node1")["build"] == {"context": "../..", "dockerfile": "deploy/docker/Dockerfile"}
    assert (FOLDER / "../..").resolve() == ROOT


@pytest.mark.parametrize("name", [*NODES, "proxy", "cache"])
def test_a_service_has_no_rights_and_writes_no_root(name: str) -> None:
    described = service(name)
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in described


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_told_in_names_that_mean_something_and_its_secrets_in_files(name: str) -> None:
    described = service(name)
    assert set(described["environment"]) <= set(SERVER_VARIABLES)
    files = [value for value in described["environment"].values() if value.startswith("/run/secrets/")]
    assert sorted(files) == sorted(f"/run/secrets/{secret}" for secret in described["secrets"])
    assert "password" not in str(described["environment"]).lower()


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    assert [name for name in SERVICES if "ports" in service(name)] == ["proxy"]
    assert service("proxy")["ports"] == ["443:443"]
    assert [name for name in SERVICES if "outside" in service(name)["networks"]] == ["proxy"]
    assert FILE["networks"]["front"]["internal"] is FILE["networks"]["back"]["internal"] is True


def test_nobody_but_the_proxy_is_where_the_nodes_believe_what_they_are_told() -> None:
    (subnet,) = FILE["networks"]["front"]["ipam"]["config"]
    assert service("node1")["environment"]["WATCHWORD_SERVER__TRUSTED_PROXIES"] == subnet["subnet"]
    assert {name for name in SERVICES if "front" in service(name)["networks"]} - set(NODES) == {"proxy"}


@rule("KF-122")
def test_the_cache_asks_for_a_password_keeps_all_and_is_reached_by_the_nodes_alone() -> None:
    described = service("cache")
    command = " ".join(described["command"])
    assert described["networks"] == ["back"]
    assert '--requirepass "$$(cat /run/secrets/cache-password)"' in command
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes --appendfsync always" in command
    assert {name for name in SERVICES if "back" in service(name)["networks"]} == {*NODES, "database", "cache"}


def test_every_secret_is_used_and_every_used_one_is_there() -> None:
    used = {secret for name in SERVICES for secret in service(name).get("secrets", [])}
    assert used == set(FILE["secrets"])
    assert {described["file"] for described in FILE["secrets"].values()} == {f"./secrets/{name}" for name in used}


def test_a_node_has_the_time_to_drain() -> None:
    seconds = int(service("node1")["stop_grace_period"].removesuffix("s"))
    assert timedelta(seconds=seconds) > timedelta(seconds=ServerSettings.model_fields["drain_timeout"].default)


def test_its_proxy_is_configured_as_the_one_that_is_tested() -> None:
    tested = (ROOT / "deploy" / "nginx" / "watchword.conf").read_text()
    assert (FOLDER / "watchword.conf").read_text() == replaced(tested, NGINX)


def test_every_image_has_a_version_and_none_a_registry() -> None:
    for name in SERVICES:
        image, _, tag = service(name)["image"].partition(":")
        assert "/" not in image
        assert tag
        assert tag != "latest" or image == "watchword"
