"""Which scopes a request needs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.errors import BadSettings
from watchword.resource.rules import Needs, Rule, RuleBook

BOOK = RuleBook(
    [
        Rule("/data", ["read:data"], ["GET"]),
        Rule("/data", ["write:data"], ["POST", "PUT"]),
        Rule("/items/{id}", ["read:item"]),
        Rule("/items/{id}/notes", ["read:note", "read:item"]),
        Rule("/admin/*", ["admin"]),
        Rule("/", ["root"]),
    ],
    public=["/health", "/docs/*"],
)


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/data", ("read:data",)),
        ("HEAD", "/data", ("read:data",)),
        ("POST", "/data", ("write:data",)),
        ("PUT", "/data", ("write:data",)),
        ("GET", "/items/7", ("read:item",)),
        ("DELETE", "/items/a b", ("read:item",)),
        ("GET", "/items/7/notes", ("read:note", "read:item")),
        ("GET", "/admin/", ("admin",)),
        ("GET", "/admin/a/b", ("admin",)),
        ("GET", "/", ("root",)),
    ],
)
def test_the_first_rule_that_covers_a_request_says_what_it_needs(method, path, scopes):
    assert BOOK.find_needs(method, path) == Needs(scopes, is_public=False)


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("DELETE", "/docs/a"), ("GET", "/docs/")])
def test_a_public_path_needs_nothing(method, path):
    assert BOOK.find_needs(method, path) == Needs((), is_public=True)


@rule("V5", "S12")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/data"),
        ("get", "/data"),
        ("GET", "/data/"),
        ("GET", "/Data"),
        ("GET", "/data/x"),
        ("GET", "/dat"),
        ("GET", "/items"),
        ("GET", "/items/"),
        ("GET", "/items/7/"),
        ("GET", "/items//notes"),
        ("GET", "/admin"),
        ("GET", "/administrator"),
        ("GET", "/health/"),
        ("GET", "/HEALTH"),
        ("GET", "/healthz"),
        ("WEBSOCKET", "/data"),
        ("", "/data"),
    ],
)
def test_what_no_rule_covers_is_not_covered(method, path):
    assert BOOK.find_needs(method, path) is None


@rule("V5")
@pytest.mark.parametrize("path", ["/admin/keys", "/admin/keys/", "/ADMIN/keys", "/Admin/Keys/", "/admin/KEYS"])
def test_another_spelling_of_a_guarded_path_needs_what_the_path_needs(path):
    """For routers that read paths without case, or with a slash more at the end."""
    book = RuleBook([Rule("/admin/keys", ["admin"]), Rule("/*", ["read"])])
    needs = book.find_needs("GET", path)
    assert needs is not None
    assert "admin" in needs.scopes


@rule("V5")
def test_a_slash_less_opens_nothing_either():
    book = RuleBook([Rule("/admin/", ["admin"]), Rule("/*", ["read"])])
    assert book.find_needs("GET", "/admin") == Needs(("read", "admin"), is_public=False)


@rule("V5")
def test_another_spelling_of_a_guarded_path_is_not_public():
    book = RuleBook([Rule("/docs", ["admin"])], public=["/*"])
    assert book.find_needs("GET", "/docs") == Needs((), is_public=True)  # public paths come first
    book = RuleBook([Rule("/docs", ["admin"]), Rule("/docs/", ["admin"])], public=["/DOCS"])
    assert book.find_needs("GET", "/docs") == Needs(("admin",), is_public=False)


@rule("V5")
def test_what_is_below_a_public_path_is_not_the_guarded_path_itself():
    book = RuleBook([Rule("/docs", ["admin"])], public=["/docs/*"])
    assert book.find_needs("GET", "/docs/a") == Needs((), is_public=True)
    assert book.find_needs("GET", "/docs/") == Needs(("admin",), is_public=False)


def test_without_rules_every_path_needs_a_token():
    book = RuleBook([], scopes=["use"], public=["/health"])
    for path in ("/", "/a", "/a/b/", "/Health"):
        assert book.find_needs("ANY", path) == Needs(("use",), is_public=False)
    assert book.find_needs("GET", "/health").is_public


@rule("V5")
@pytest.mark.parametrize("method", ["post", "Post", "POST ", "", "P\u00d6ST", "POST\n", "PO_ST", "-POST"])
def test_a_method_in_another_spelling_is_covered_by_no_rule(method):
    book = RuleBook([Rule("/data", ["write"], ["POST"]), Rule("/*")], public=["/health"])
    assert book.find_needs(method, "/data") is None
    assert book.find_needs(method, "/health") is None
    assert RuleBook([]).find_needs(method, "/data") is None
    assert book.find_needs("M-SEARCH", "/data") == Needs((), is_public=False)


def test_common_scopes_are_needed_besides_those_of_the_rule():
    book = RuleBook([Rule("/data", ["read", "use"])], scopes=["use"])
    assert book.find_needs("GET", "/data").scopes == ("use", "read")
    assert book.find_needs("GET", "/other") is None
    assert book.scopes == ("read", "use")


@pytest.mark.parametrize(
    "rules",
    [
        [Rule("data")],
        [Rule("")],
        [Rule("/a//b")],
        [Rule("/a/*/b")],
        [Rule("/a*")],
        [Rule("/a/{")],
        [Rule("/a/{}")],
        [Rule("/a/x{id}")],
        [Rule("/a/{id:int}")],
        [Rule("/a/{file:path}")],
        [Rule("/a/../b")],
        [Rule("/a/.")],
        [Rule("/a;b")],
        [Rule("/a%20b")],
        [Rule("/a?b")],
        [Rule("/a", "read")],
        [Rule("/a", ["read write"])],
        [Rule("/a", [""])],
        [Rule("/a", methods="GET")],
        [Rule("/a", methods=["get"])],
        [Rule("/a", methods=["GET "])],
    ],
    ids=repr,
)
def test_a_rule_that_would_not_do_what_it_seems_to_is_refused(rules):
    with pytest.raises(BadSettings) as caught:
        RuleBook(rules)
    assert caught.value.reason == "guard.rule"


@pytest.mark.parametrize(
    "settings_", [{"public": "/health"}, {"scopes": "read"}, {"public": ["health"]}, {"scopes": ['"']}]
)
def test_so_is_a_public_path_or_a_scope(settings_):
    with pytest.raises(BadSettings):
        RuleBook([], **settings_)


PATTERN = st.lists(st.sampled_from(["a", "b", "{x}", "{y}"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
PATH = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=200)
@given(st.lists(PATTERN, min_size=1, max_size=5), PATH)
@rule("V5")
def test_no_spelling_of_a_path_needs_less_than_its_plain_one(patterns, path):
    """Were a router to read them alike, none would be the cheaper way in."""
    book = RuleBook([*(Rule(pattern, [f"s{index}"]) for index, pattern in enumerate(patterns)), Rule("/*", ["rest"])])
    plain = book.find_needs("GET", path)
    for spelling in (path + "/", path.upper(), path.upper() + "/", path.title()):
        assert set(plain.scopes) <= set(book.find_needs("GET", spelling).scopes)
