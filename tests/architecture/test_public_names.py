"""The public names are the ones that are promised, and each of them is there."""

import importlib

import pytest

PUBLIC = {
    "watchword": {
        *("ClientSecretBasic", "ClientSecretPost", "DPoPKey", "Login", "__version__", "default"),
        *("LoginError", "LoginMisconfigured", "LoginRefused", "LoginUnavailable", "PrivateKeyJwt", "TlsClientAuth"),
        *("ChallengeResponse", "ClientCertificate", "FederatedToken", "GitHubActionsToken"),
    },
    "watchword.resource": {
        "Caller",
        "DpopRules",
        "FeedStatus",
        "FromConnection",
        "FromProxy",
        "Guard",
        "Refusal",
        "RevocationFeed",
        "Rule",
        "StatusLists",
        "Verifier",
        "build_refusal",
        "current_caller",
    },
}
"""Adding a name is a decision; taking one away breaks somebody."""


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_promises_these_names_and_no_others(package):
    module = importlib.import_module(package)
    assert set(module.__all__) == PUBLIC[package]
    assert list(module.__all__) == sorted(module.__all__)
    assert set(dir(module)) == PUBLIC[package]


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, names in PUBLIC.items() for name in sorted(names)]
)
def test_every_promised_name_is_there_and_explained(package, name):
    value = getattr(importlib.import_module(package), name)
    assert isinstance(value, str) or (value.__name__ == name and value.__doc__)


@pytest.mark.parametrize("package", PUBLIC)
def test_another_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="has no attribute 'nothing_like_it'"):
        _ = importlib.import_module(package).nothing_like_it
