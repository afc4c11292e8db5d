"""The part of the store's contract that is about trusted issuers, and credentials that are no secrets."""

# ruff: noqa: S101, D102 -- this is a test suite, to be run by others; a test's name says it all

from __future__ import annotations

from dataclasses import replace

import pytest

from watchword.ports.agents import Credential, CredentialKind
from watchword.ports.issuers import DeleteTrustedIssuer
from watchword.ports.store import Create, Replace, RevokeCredential, Store
from watchword.testing.records import make_agent, make_credential, make_federated, make_trusted_issuer
from watchword.testing.store_registry_contract import HOSTILE, change, refusal

FULL = replace(
    make_trusted_issuer("full"),
    jwks_uri="https://full.example/keys",
    jwks={"keys": [{"kty": "EC", "x": "\u00e9"}]},
    algorithms=("ES256", "RS256"),
    audience="api://watchword",
    version=1,
)


class IssuersContract:
    """Issuers are found by their exact name, and stay while somebody depends on them."""

    async def test_an_issuer_is_found_by_its_exact_name_and_by_its_exact_issuer(self, store: Store) -> None:
        plain = make_trusted_issuer()
        await change(store, Create(plain), Create(FULL))
        assert await store.trusted_issuer("cluster") == plain
        assert await store.trusted_issuer_of("https://full.example") == FULL
        assert await store.trusted_issuers() == [plain, FULL]
        for name in ("https://full.example/", "HTTPS://full.example", "https://full.example\x00", *HOSTILE):
            assert await store.trusted_issuer_of(name) is None
            assert await store.trusted_issuer(name) is None
            assert list(await store.federated(name, limit=9)) == []

    async def test_neither_name_nor_issuer_stands_twice(self, store: Store) -> None:
        await change(store, Create(make_trusted_issuer()))
        assert await refusal(store, Create(make_trusted_issuer(issuer="https://x.example"))) == "trusted_issuer.exists"
        namesake = make_trusted_issuer("other", issuer="https://cluster.example")
        assert await refusal(store, Create(namesake)) == "trusted_issuer.issuer"

    async def test_an_issuer_is_replaced_by_its_next_version_and_keeps_what_stands_in_iss(self, store: Store) -> None:
        issuer = make_trusted_issuer()
        await change(store, Create(issuer))
        newer = replace(issuer, algorithms=("ES256",), jwks={"keys": []}, version=2)
        await change(store, Replace(newer))
        assert await store.trusted_issuer("cluster") == newer
        assert await refusal(store, Replace(newer)) == "trusted_issuer.version"
        assert await refusal(store, Replace(replace(FULL, version=2))) == "trusted_issuer.missing"
        moved = replace(newer, issuer="https://elsewhere.example", version=3)
        assert await refusal(store, Replace(moved)) == "trusted_issuer.issuer"

    async def test_an_issuer_stays_while_an_active_credential_names_it(self, store: Store) -> None:
        await change(store, Create(make_agent()), Create(make_trusted_issuer()), Create(make_federated()))
        assert await refusal(store, DeleteTrustedIssuer("cluster", 2)) == "trusted_issuer.version"
        assert await refusal(store, DeleteTrustedIssuer("full", 1)) == "trusted_issuer.missing"
        assert await refusal(store, DeleteTrustedIssuer("cluster", 1)) == "trusted_issuer.in_use"
        await change(store, RevokeCredential("agent-1", "federated-1"))
        await change(store, DeleteTrustedIssuer("cluster", 1))
        assert await store.trusted_issuer("cluster") is None

    async def test_a_credential_names_an_issuer_that_is_there(self, store: Store) -> None:
        await change(store, Create(make_agent()))
        assert await refusal(store, Create(make_federated())) == "trusted_issuer.missing"
        await change(store, Create(make_trusted_issuer()), Create(make_federated()))

    async def test_the_credentials_that_trust_an_issuer_are_found_whoever_has_them(self, store: Store) -> None:
        await change(store, *(Create(make_agent(name)) for name in ("a", "b")), Create(make_trusted_issuer()))
        made = [make_federated(f"credential-{place}", client_id="ab"[place % 2]) for place in range(5)]
        await change(store, *map(Create, made), Create(make_credential("secret", client_id="a")), Create(FULL))
        await change(store, Create(make_federated("other", client_id="a", trusted_issuer="full")))
        await change(store, RevokeCredential("b", "credential-3"))
        found = [one.id for one in await store.federated("cluster", limit=9)]
        assert found == ["credential-0", "credential-1", "credential-2", "credential-4"]
        assert [one.id for one in await store.federated("cluster", limit=2)] == found[:2]
        assert list(await store.federated("cluster", limit=0)) == []

    @pytest.mark.parametrize("kind", list(CredentialKind))
    async def test_a_credential_keeps_what_its_kind_says(self, store: Store, kind: CredentialKind) -> None:
        details: dict[str, object] = {"jwk": {"kty": "EC", "x": "\u00e9\u0000"}, "list": [1, True, "\x01"], "empty": {}}
        credential: Credential = replace(make_credential(), kind=kind, details=details)
        await change(store, Create(make_agent()), Create(credential))
        assert await store.credentials("agent-1") == (credential,)
        found = await store.registration("agent-1")
        assert found is not None
        assert found.credentials == (credential,)

    async def test_an_agent_keeps_what_it_is_bound_to_and_what_is_conceded(self, store: Store) -> None:
        agent = replace(make_agent(), dpop_bound=True, concessions=("eddsa",))
        await change(store, Create(agent))
        assert await store.find_agent("agent-1") == agent
        newer = replace(agent, dpop_bound=False, mtls_bound=True, concessions=(), version=2)
        await change(store, Replace(newer))
        found = await store.registration("agent-1")
        assert found is not None
        assert found.agent == newer
