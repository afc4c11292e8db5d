"""The Helm chart, linted and rendered by Helm's own engine; then what must be so of what it renders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests import rule
from tests.deploy.proxies import ROOT
from watchword.environment import SERVER_PREFIX, SERVER_VARIABLES
from watchword.settings import ServerSettings

CHART = ROOT / "deploy" / "helm" / "watchword"
LEAST: dict[str, object] = {"issuer": "https://auth.example.com", "trustedProxies": ["10.0.0.0/8"]}
ALL: dict[str, object] = {
    **LEAST,
    "init": True,
    "workers": 2,
    "image": {"repository": "watchword", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "pull"}],
    "cache": {"existingSecret": "watchword-cache"},
    "allowedHosts": ["login.example.com"],
    "settings": {"log_level": "debug", "max_connections": 100},
    "ingress": {"className": "nginx", "annotations": {"a": "b"}},
    "networkPolicy": {"managementFrom": [{"namespaceSelector": {}}], "publicFrom": [{"podSelector": {}}]},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podAnnotations": {"a": "b"},
}


def rendered(helm: Any, values: dict[str, object]) -> dict[str, dict[str, Any]]:
    """What the chart makes, by kind and name."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="login", namespace="prod")
    texts = [text for name, text in files.items() if not name.endswith(".txt")]
    documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def pods(objects: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for described in objects.values():
        if described["kind"] in ("Deployment", "Job"):
            yield described["spec"]["template"]["spec"]


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_helm_finds_nothing_wrong(helm: Any, values: dict[str, object]) -> None:
    report = helm.lint(str(CHART), values, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_a_pod_has_no_rights_and_writes_no_root(helm: Any, values: dict[str, object]) -> None:
    for pod in pods(rendered(helm, values)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "all"])
def test_no_secret_stands_in_a_manifest_and_every_setting_means_something(helm: Any, values: dict[str, object]) -> None:
    for pod in pods(rendered(helm, values)):
        variables = {one["name"]: one for one in pod["containers"][0]["env"]}
        names = set(variables) - {"CREDENTIALS_DIRECTORY"}
        assert names <= set(SERVER_VARIABLES)
        for name in ("DATABASE", "CACHE"):
            if SERVER_PREFIX + name in variables:
                assert "secretKeyRef" in variables[SERVER_PREFIX + name]["valueFrom"]
        assert variables[SERVER_PREFIX + "ISSUER"]["value"] == values["issuer"]


def test_a_node_is_reached_checked_and_stopped_as_it_listens(helm: Any) -> None:
    objects = rendered(helm, LEAST)
    (pod,) = pods(objects)
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert container["args"] == [
        *("serve", "--listen", f"0.0.0.0:{ports['public']}"),
        *("--management", f"0.0.0.0:{ports['management']}"),
    ]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"management"}
    assert [probe["path"] for probe in probes.values()] == ["/livez", "/livez", "/readyz"]
    assert objects["Service/login"]["spec"]["ports"][0]["targetPort"] == "public"
    labels = objects["Deployment/login"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        objects["Service/login"]["spec"]["selector"],
        objects["Deployment/login"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget/login"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy/login"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    pause, drain = 5, ServerSettings.model_fields["drain_timeout"].default
    assert container["lifecycle"]["preStop"]["exec"]["command"][-1] == f"import time; time.sleep({pause})"
    assert pod["terminationGracePeriodSeconds"] > pause + drain


@rule("N9")
def test_a_pod_brings_the_tables_forward_before_it_serves(helm: Any) -> None:
    (pod,) = pods(rendered(helm, LEAST))
    (container,), (before,) = pod["containers"], pod["initContainers"]
    assert before["args"] == ["migrate"]
    for same in ("image", "env", "volumeMounts"):
        assert before[same] == container[same]


def test_the_service_does_not_lead_to_the_job(helm: Any) -> None:
    objects = rendered(helm, ALL)
    labels = objects["Job/login-init"]["spec"]["template"]["metadata"]["labels"]
    assert not objects["Service/login"]["spec"]["selector"].items() <= labels.items()


def test_the_ingress_serves_the_issuer_s_host_over_tls(helm: Any) -> None:
    spec = rendered(helm, ALL)["Ingress/login"]["spec"]
    assert spec["rules"][0]["host"] == "auth.example.com"
    assert spec["tls"] == [{"hosts": ["auth.example.com"], "secretName": "watchword-tls"}]


def test_only_trusted_proxies_and_who_is_named_reach_a_node(helm: Any) -> None:
    allowed = rendered(helm, LEAST)["NetworkPolicy/login"]["spec"]["ingress"]
    assert allowed == [{"ports": [{"port": "public"}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
    _, management = rendered(helm, ALL)["NetworkPolicy/login"]["spec"]["ingress"]
    assert management == {"ports": [{"port": "management"}], "from": [{"namespaceSelector": {}}]}


def test_a_digest_wins_over_a_tag(helm: Any) -> None:
    (pod, *_) = pods(rendered(helm, ALL))
    assert pod["containers"][0]["image"] == f"watchword@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**LEAST, "issuer": "http://auth.example.com"},
        {**LEAST, "issuer": "https://auth.example.com/"},
        {**LEAST, "trustedProxies": []},
        {**LEAST, "database": {"existingSecret": ""}},
        {**LEAST, "masterKey": {"existingSecret": ""}},
        {**LEAST, "replicas": 0},
        {**LEAST, "misspelt": 1},
        {**LEAST, "database": {"url": "postgresql://user:password@host/name"}},
        {**LEAST, "image": {"repository": "watchword", "digest": "sha256:1"}},
    ],
    ids=str,
)
def test_values_that_cannot_be_right_are_refused(helm: Any, values: dict[str, object]) -> None:
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(values)


def test_the_chart_has_the_version_of_the_program() -> None:
    from watchword import __version__

    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
