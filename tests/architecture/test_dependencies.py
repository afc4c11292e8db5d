"""Few dependencies, each declared, each pinned by its hash."""

import re
import sys
import tomllib

from tests import rule
from tests.architecture.sources import ROOT, imports_of, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = {"cryptography", "httpx2", "joserfc"}
SERVER_ONLY = {
    "__main__",
    "adapters",
    "asgi",
    "cli",
    "compose",
    "config",
    "doors",
    "listening",
    "cloud_settings",
    "custody_settings",
    "revocation_settings",
    "mtls_settings",
    "console",
    "environment",
    "fetching",
    "operations",
    "serving",
    "settings",
    "sharing",
    "stores",
    "feeding",
    "judging",
    "listing",
    "ways_in",
}
"""Parts that need ``watchword[server]``; the others are for agents and APIs, and live on the base install."""

ENGINES = {
    "watchword.adapters.keys_aws": "aws",
    "watchword.adapters.keys_aws_failures": "aws",
    "watchword.adapters.keys_pkcs11_public": "pkcs11",
    "watchword.adapters.keys_pkcs11_session": "pkcs11",
    "watchword.adapters.postgres_failures": "postgres",
    "watchword.adapters.postgres_link": "postgres",
    "watchword.adapters.redis_connection": "redis",
}
"""Modules that need an extra of their own, and which: each engine is imported in one place."""

IMPORT_NAMES = {
    "pyopenssl": "OpenSSL",
    "pyyaml": "yaml",
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
}
UNWANTED = {"multipart", "python_multipart", "jwt", "jose", "itsdangerous"}


def declared(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {match.group().lower() for match in found if match}


@rule("DR-15")
def test_the_base_install_has_three_dependencies():
    assert declared(PROJECT["dependencies"]) == BASE


@rule("DR-15")
def test_every_library_is_declared_where_it_is_used():
    server = {IMPORT_NAMES.get(name, name) for name in declared(PROJECT["optional-dependencies"]["server"])}
    of_engines = {name: declared(PROJECT["optional-dependencies"][extra]) for name, extra in ENGINES.items()}
    of_engines["watchword.adapters.keys_aws"].add("botocore")  # boto3 is a face of it
    of_engines["watchword.adapters.keys_aws_failures"].add("botocore")
    of_engines["watchword.adapters.keys_pkcs11_public"].add("pkcs11")
    of_engines["watchword.adapters.keys_pkcs11_session"].add("pkcs11")
    foreign = [
        str(one)
        for module in modules()
        for one in imports_of(module)
        if (top := one.target.partition(".")[0]) not in sys.stdlib_module_names
        and top not in {"watchword", *BASE}
        and not (module.part in SERVER_ONLY and top in server)
        and top not in of_engines.get(module.name, ())
        and module.part != "testing"
    ]
    assert foreign == []


@rule("DR-15", "KF-111")
def test_nothing_unwanted_is_imported():
    targets = {one.target.partition(".")[0] for module in modules() for one in imports_of(module)}
    assert targets & UNWANTED == set()


@rule("DR-15")
def test_every_pinned_package_has_its_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in lock.splitlines() if line and not line.lstrip().startswith("#")]
    assert [
        line for line in pins if not re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line)
    ] == []
    assert declared(PROJECT["dependencies"]) <= {line.partition("==")[0] for line in pins}
