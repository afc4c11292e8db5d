"""Which tokens a rule means: whole values, whole segments, exact types; and which rules are refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.errors import WatchwordError
from watchword.protocol.claim_rules import ClaimRule, Mismatch, find_claim, fits, separators_of
from watchword.protocol.federation_presets import PRESETS, preset_of

GITHUB = {
    "sub": "repo:octo/app:ref:refs/heads/main",
    "repository": "octo/app",
    "repository_id": "74",
    "repository_owner_id": "65",
    "ref": "refs/heads/main",
    "event_name": "push",
    "environment": "prod",
    "job_workflow_ref": "octo/app/.github/workflows/deploy.yml@refs/heads/main",
}
PINNED = {"repository_id": "74", "repository_owner_id": "65", "ref": "refs/heads/main", "event_name": "push"}


def build(claims: dict[str, object], **more: object) -> ClaimRule:
    return ClaimRule.from_details({"claims": claims, **more})


@rule("F4")
@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        ("repo:org/app:ref:refs/heads/main", "repo:org/app:ref:refs/heads/main"),
        ("repo:org/*:ref:refs/heads/main", "repo:org/app:ref:refs/heads/main"),
        ("repo:org/app:ref:refs/heads/*", "repo:org/app:ref:refs/heads/main"),
        ("repo:org/app:**", "repo:org/app:environment:prod"),
        ("repo:org/app:**", "repo:org/app:ref:refs/heads/feature/x"),
        ("spiffe://td/ns/a/**", "spiffe://td/ns/a/sa/b"),
    ],
)
def test_a_value_fits_whole_segments(allowed, value):
    assert fits(value, allowed, separators_of("sub"))


@rule("F4", "SPIFFE-04", "R7523-2.1-03")
@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        ("repo:org/app", "repo:org/app-evil"),
        ("repo:org/app", "repo:org/app:ref:refs/heads/main"),
        ("repo:org/app", "xrepo:org/app"),
        ("repo:org/*", "repo:org-evil/x"),
        ("repo:org/*", "repo:org/app:ref:refs/heads/main"),
        ("repo:org/*", "repo:org/"),
        ("repo:org/*", "repo:org:x"),
        ("repo:org/*:ref:refs/heads/main", "repo:org/a/b:ref:refs/heads/main"),
        ("repo:org/app:ref:refs/heads/*", "repo:org/app:ref:refs/heads/a/b"),
        ("repo:org/a.p", "repo:org/app"),
        ("repo:org/app:**", "repo:org/app"),
        ("repo:org/app:**", "repo:org/app:"),
        ("repo:org/app:**", "repo:org/app/x"),
        ("repo:org/app:**", "repo:org/app:ref:refs//main"),
        ("spiffe://td/ns/a/**", "spiffe://td/ns/ab"),
        ("spiffe://td/ns/a/**", "spiffe://td/ns/a"),
        ("spiffe://td/**", "spiffe://td.evil/a"),
        ("repo:Org/app", "repo:org/app"),
        ("repo:org/app", "repo:org/app\n"),
    ],
)
def test_a_value_that_only_looks_alike_does_not_fit(allowed, value):
    assert not fits(value, allowed, separators_of("sub"))


@rule("F12")
@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        ("74", 74),
        (74, "74"),
        (74, 74.0),
        (1, True),
        (True, 1),
        ("true", True),
        (True, "true"),
        ("a", ["a"]),
        ("a", {}),
        ("*x", None),
    ],
)
def test_a_value_of_another_type_does_not_fit(allowed, value):
    assert not fits(value, allowed, ":/")


@given(st.text(alphabet="ab:/*", min_size=1, max_size=12), st.text(alphabet="ab:/", min_size=1, max_size=12))
def test_without_a_star_only_the_very_same_text_fits(allowed, value):
    plain = allowed.replace("*", "a")
    assert fits(value, plain, ":/") == (value == plain)


@given(st.lists(st.text(alphabet="abc.-", min_size=1, max_size=4), min_size=2, max_size=5), st.data())
def test_a_star_stands_for_one_segment_and_for_nothing_else(segments, data):
    place = data.draw(st.integers(0, len(segments) - 1))
    pattern = "/".join("*" if number == place else one for number, one in enumerate(segments))
    assert fits("/".join(segments), pattern, ":/")
    for other in ("", "x/y", "x:y"):
        changed = "/".join(other if number == place else one for number, one in enumerate(segments))
        assert not fits(changed, pattern, ":/")


def test_a_rule_says_which_claims_do_not_fit_and_why():
    meant = build({"sub": "a", "ref_protected": True, "project": ["x", "y"], "/kubernetes.io/serviceaccount/uid": "u"})
    good = {"sub": "a", "ref_protected": True, "project": "y", "kubernetes.io": {"serviceaccount": {"uid": "u"}}}
    assert meant.judge(good) == ()
    assert meant.judge({"sub": "a", "ref_protected": "true", "project": "z", "kubernetes.io": {"pod": 1}}) == (
        Mismatch("ref_protected", "type"),
        Mismatch("project", "value"),
        Mismatch("/kubernetes.io/serviceaccount/uid", "missing"),
    )
    assert meant.judge({**good, "project": ["y"]}) == (Mismatch("project", "type"),)
    assert meant.judge({**good, "sub": None}) == (Mismatch("sub", "missing"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [("/a/b", 1), ("/x~1y/z", 2), ("/t~0u", 3), ("x/y", {"z": 2}), ("/a/c", None), ("/a/b/c", None), ("/", None)],
)
def test_a_pointer_leads_into_objects_and_a_name_does_not(name, value):
    assert find_claim({"a": {"b": 1}, "x/y": {"z": 2}, "t~u": 3}, name) == value


def test_a_rule_is_stored_and_read_again():
    made = build({**PINNED, "ref": ["refs/heads/main", "refs/tags/*"]}, preset="github", single_use=True)
    assert made.to_details() == {
        "preset": "github",
        "claims": {**PINNED, "ref": ["refs/heads/main", "refs/tags/*"]},
        "max_age": 900,
        "single_use": True,
    }
    assert ClaimRule.from_details(made.to_details()) == made
    assert made.judge(GITHUB) == ()
    assert made.max_age == timedelta(minutes=15)


@rule("F6")
@pytest.mark.parametrize(
    "token",
    [
        {"event_name": "pull_request_target"},
        {"event_name": "pull_request", "ref": "refs/pull/7/merge"},
        {"ref": "refs/heads/main-evil"},
        {"repository_id": "75"},
        {"repository_owner_id": "66"},
        {"repository_id": 74},
    ],
)
def test_another_job_of_the_same_repository_or_a_fork_does_not_fit(token):
    assert build(PINNED, preset="github").judge({**GITHUB, **token}) != ()


@rule("F6")
def test_an_environment_that_is_missing_does_not_fit():
    pinned = build({"repository_id": "74", "repository_owner_id": "65", "environment": "prod"}, preset="github")
    assert pinned.judge({name: value for name, value in GITHUB.items() if name != "environment"}) == (
        Mismatch("environment", "missing"),
    )


UNBOUND = [
    ({"claims": {"email": "a@b.example"}}, "federated.unbound"),
    ({"claims": {"repository_id": "74"}, "preset": "github"}, "federated.unbound"),
    (
        {"claims": {"repository": "octo/app", "ref": "refs/heads/main", "event_name": "push"}, "preset": "github"},
        "federated.unbound",
    ),
    ({"claims": {"repository_id": "74", "repository_owner_id": "65"}, "preset": "github"}, "federated.unbound"),
    (
        {"claims": {"repository_id": "74", "repository_owner_id": "65", "ref": "refs/heads/main"}, "preset": "github"},
        "federated.unbound",
    ),
    ({"claims": {"sub": "system:serviceaccount:ns:*"}, "preset": "kubernetes"}, "federated.unbound"),
    ({"claims": {"project_id": "22", "namespace_id": "7"}, "preset": "gitlab"}, "federated.unbound"),
    ({"claims": {"email": "a@b.example", "email_verified": True}, "preset": "google"}, "federated.unbound"),
    ({"claims": {"oid": "1"}, "preset": "azure"}, "federated.unbound"),
    ({"claims": {"sub": "arn:aws:iam::1:role/x"}, "preset": "aws"}, "federated.unbound"),
    ({"claims": {"sub": "*"}}, "federated.value"),
    ({"claims": {"sub": "*:*"}}, "federated.value"),
    ({"claims": {"sub": "**"}}, "federated.value"),
    ({"claims": {"sub": "repo:org*"}}, "federated.value"),
    ({"claims": {"sub": "repo:org/app-*"}}, "federated.value"),
    ({"claims": {"sub": "repo:**:main"}}, "federated.value"),
    ({"claims": {"sub": "a\x00b"}}, "federated.value"),
    ({"claims": {"sub": ""}}, "federated.value"),
    ({"claims": {"sub": []}}, "federated.value"),
    ({"claims": {"sub": None}}, "federated.value"),
    ({"claims": {"sub": 1.5}}, "federated.value"),
    ({"claims": {"sub": ["a", ["b"]]}}, "federated.value"),
    ({"claims": {"sub": "x" * 513}}, "federated.value"),
    ({"claims": {"sub": "a", "aud": "x"}}, "federated.claims"),
    ({"claims": {"sub": "a", "iss": "x"}}, "federated.claims"),
    ({"claims": {"sub": "a", "": "x"}}, "federated.claims"),
    ({"claims": {}}, "federated.claims"),
    ({"claims": [1]}, "federated.claims"),
    ({}, "federated.claims"),
    ({"claims": {"sub": "a"}, "regex": True}, "federated.claims"),
    ({"claims": {f"c{number}": "a" for number in range(21)}}, "federated.claims"),
    ({"claims": {"sub": "a"}, "preset": "other"}, "federated.preset"),
    ({"claims": {"sub": "a"}, "max_age": 0}, "federated.max_age"),
    ({"claims": {"sub": "a"}, "max_age": 86_401}, "federated.max_age"),
    ({"claims": {"sub": "a"}, "max_age": True}, "federated.max_age"),
    ({"claims": {"sub": "a"}, "single_use": 1}, "federated.single_use"),
    ({"claims": {"sub": "spiffe://td/a"}, "preset": "spiffe", "single_use": True}, "federated.single_use"),
]


@rule("F4", "F6")
@pytest.mark.parametrize(("details", "reason"), UNBOUND)
def test_a_rule_that_does_not_say_whom_it_means_is_refused(details, reason):
    with pytest.raises(WatchwordError) as refused:
        ClaimRule.from_details(details)
    assert refused.value.reason == reason
    assert refused.value.detail.endswith(".")


GOOD = {
    "oidc": {"sub": "anyone"},
    "kubernetes": {"sub": "system:serviceaccount:prod:worker"},
    "github": PINNED,
    "gitlab": {"project_id": "22", "namespace_id": "7", "ref_protected": "true"},
    "google": {"sub": "108"},
    "azure": {"oid": "1", "tid": "2"},
    "aws": {"sub": "arn:aws:iam::123456789012:role/x", "/https:~1~1sts.amazonaws.com~1/aws_account": "123456789012"},
    "spiffe": {"sub": "spiffe://td/ns/prod/*"},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_rule_that_names_what_its_preset_demands_is_taken(preset):
    assert build(GOOD[preset], preset=preset).preset == preset


@rule("SPIFFE-04")
def test_of_a_spiffe_id_a_star_at_the_end_means_everything_below():
    below = build(GOOD["spiffe"], preset="spiffe")
    assert below.judge({"sub": "spiffe://td/ns/prod/sa/a"}) == ()
    assert below.judge({"sub": "spiffe://td/ns/prod-evil"}) == (Mismatch("sub", "value"),)
    assert below.judge({"sub": "spiffe://td/ns/prod"}) == (Mismatch("sub", "value"),)
    assert ClaimRule.from_details(below.to_details()) == below


def test_the_account_of_an_aws_token_is_found_in_its_object():
    aws = build(GOOD["aws"], preset="aws")
    token = {"sub": "arn:aws:iam::123456789012:role/x", "https://sts.amazonaws.com/": {"aws_account": "123456789012"}}
    assert aws.judge(token) == ()
    assert aws.judge({**token, "https://sts.amazonaws.com/": {"aws_account": "9"}}) != ()


@pytest.mark.parametrize(
    ("issuer", "preset"),
    [
        ("https://token.actions.githubusercontent.com", "github"),
        ("https://token.actions.githubusercontent.com/", "oidc"),
        ("https://gitlab.com", "gitlab"),
        ("https://accounts.google.com", "google"),
        ("https://login.microsoftonline.com/t/v2.0", "azure"),
        ("https://sts.windows.net/t/", "azure"),
        ("https://abc.tokens.sts.global.api.aws", "aws"),
        ("spiffe://example.org", "spiffe"),
        ("https://kubernetes.default.svc", "oidc"),
    ],
)
def test_an_issuer_is_known_by_its_exact_name(issuer, preset):
    assert preset_of(issuer) == preset
