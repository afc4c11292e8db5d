import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.htu import MAX_HTU, InvalidHtu, canonical_htu


@rule("R9449-4.3-03", "TRAP-02")
@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("https://a.example/token", "https://a.example/token"),
        ("HTTPS://A.Example/token", "https://a.example/token"),
        ("https://a.example:443/token", "https://a.example/token"),
        ("https://a.example:0443/token", "https://a.example/token"),
        ("https://a.example:/token", "https://a.example/token"),
        ("http://a.example:80/token", "http://a.example/token"),
        ("https://a.example:80/token", "https://a.example:80/token"),
        ("https://a.example:8443/token", "https://a.example:8443/token"),
        ("https://a.example", "https://a.example/"),
        ("https://a.example?x=1#y", "https://a.example/"),
        ("https://a.example/token?x=/../?#y?", "https://a.example/token"),
        ("https://a.example/%7euser/%2d", "https://a.example/~user/-"),
        ("https://a.example/a%2fb%c3%a9", "https://a.example/a%2Fb%C3%A9"),
        ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ("https://a.example/a/%2e%2E/c", "https://a.example/c"),
        ("https://a.example/../..", "https://a.example/"),
        ("https://a.example/a/b/..", "https://a.example/a/"),
        ("https://a.example/a/.", "https://a.example/a/"),
        ("https://a.example/.well-known/x", "https://a.example/.well-known/x"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
        ("https://under_score.example/x", "https://under_score.example/x"),
    ],
)
def test_what_means_the_same_everywhere_is_spelt_the_same(spelling: str, canonical: str) -> None:
    assert canonical_htu(spelling) == canonical


@rule("R9449-4.3-03", "TRAP-02")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.example/token", "https://a.example/Token"),
        ("https://a.example/token", "https://a.example/token/"),
        ("https://a.example/token", "https://a.example//token"),
        ("https://a.example/a/b", "https://a.example/a%2Fb"),
        ("https://a.example/a;b", "https://a.example/a%3Bb"),
        ("https://a.example/token", "http://a.example/token"),
        ("https://a.example/token", "https://a.example.:443/token"),
        ("https://a.example/token", "https://a.example:444/token"),
        ("https://a.example/a%25", "https://a.example/a%2525"),
    ],
)
def test_what_a_server_may_tell_apart_stays_apart(one: str, other: str) -> None:
    assert canonical_htu(one) != canonical_htu(other)


@rule("R9449-4.3-03")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "/token",
        "//a.example/token",
        "a.example/token",
        "ftp://a.example/token",
        "https:a.example/token",
        "https:///token",
        "https://u@a.example/token",
        "https://u:p@a.example/token",
        "https://a.example@b.example/token",
        "https://a.example:x/token",
        "https://a.example:123456/token",
        "https://a%2eexample/token",
        "https://[v1.a]/token",
        "https://a.example/to ken",
        "https://a.example/token\n",
        " https://a.example/token",
        "https://a.example/t\u00f6ken",
        "https://\u00e4.example/token",
        "https://a.example/%",
        "https://a.example/%2",
        "https://a.example/%zz",
        "https://a.example\\token",
        'https://a.example/"',
        "https://a.example/" + "a" * MAX_HTU,
    ],
)
def test_what_is_no_url_of_a_request_is_refused(text: str) -> None:
    with pytest.raises(InvalidHtu, match="not the URL of a request"):
        canonical_htu(text)


@settings(max_examples=200)
@given(st.text(alphabet="aZ/.%2eEfF7~;", max_size=40))
def test_the_one_spelling_is_its_own_spelling(path: str) -> None:
    try:
        once = canonical_htu(f"https://a.example/{path}")
    except InvalidHtu:
        return
    assert canonical_htu(once) == once
