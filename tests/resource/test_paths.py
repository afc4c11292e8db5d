"""The path a decision is made on: one spelling, or none."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.errors import InvalidRequest
from watchword.resource.paths import read_path


def scope(raw: bytes | None, path: str | None = None, root: str = "") -> dict[str, object]:
    """What a server makes of a request target: uvicorn, hypercorn and others decode like this."""
    decoded = unquote((raw or b"").decode("latin-1")) if path is None else path
    return {"type": "http", "path": decoded, "raw_path": raw, "root_path": root}


def is_refused(connection) -> bool:
    try:
        read_path(connection)
    except InvalidRequest as error:
        return error.reason == "guard.path"
    return False


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/", "/"),
        (b"/data", "/data"),
        (b"/data/", "/data/"),
        (b"/a/b.c/-_~", "/a/b.c/-_~"),
        (b"/caf%C3%A9", "/café"),
        (b"/a%20b", "/a b"),
        (b"/a+b", "/a+b"),
        (b"/a%2Bb", "/a+b"),
        (b"/user@example.com:1,2(3)!$&'*=", "/user@example.com:1,2(3)!$&'*="),
        (b"/..a/.b/c..", "/..a/.b/c.."),
    ],
)
def test_a_plain_path_is_read(raw, path):
    assert read_path(scope(raw)) == path


@rule("V5", "T21", "KF-71", "KF-108", "DR-5")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"data",
        b"*",
        b"//",
        b"//data",
        b"/data//x",
        b"/data//",
        b"/./data",
        b"/data/.",
        b"/data/..",
        b"/public/../data",
        b"/public/%2e%2e/data",
        b"/public/%2E./data",
        b"/public/..%2fdata",
        b"/public%2fdata",
        b"/public%2Fdata",
        b"/public%5cdata",
        b"/public\\data",
        b"/data;x",
        b"/data;x=1/y",
        b"/data%3bx",
        b"/%64ata",
        b"/d%41ta",
        b"/data%7e",
        b"/data%00",
        b"/data%0a",
        b"/data%0D%0AX:y",
        b"/data%7f",
        b"/data%25",
        b"/data%252e",
        b"/data%3fx",
        b"/data%23x",
        b"/data?x",
        b"/data#x",
        b"/data%",
        b"/data%4",
        b"/data%zz",
        b"/data%u002f",
        b"/data x",
        b"/data\xff",
        b"/caf\xc3\xa9",
        b"/data%ff",
        b"/data%c0%af",
        b"/data%ed%a0%80",
        b"http://auth.example.com/data",
        b"/data\n",
    ],
)
def test_a_path_that_two_could_read_differently_is_refused(raw):
    assert is_refused(scope(raw))


@rule("V5")
@pytest.mark.parametrize(
    ("raw", "path"), [(b"/data", "/other"), (b"/data", "/data/"), (b"/a%2Bb", "/a b"), (b"/public", None), (b"/x", 7)]
)
def test_a_server_that_decodes_otherwise_than_we_is_not_followed(raw, path):
    assert is_refused({"type": "http", "path": path, "raw_path": raw})


@rule("V5")
@pytest.mark.parametrize("path", ["", "data", "//data", "/a/../b", "/a;b", "/a%2fb", "/a\\b", "/a?b", "/a#b", "/a\x00"])
def test_without_a_raw_path_the_decoded_one_is_as_strict(path):
    assert is_refused(scope(None, path))
    assert is_refused({"type": "http", "path": path})
    assert read_path(scope(None, "/data")) == "/data"


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/api/data", "/api", "/data"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/apidata", "/api", "/apidata"),
        ("/data", "/api", "/data"),
        ("/data", "", "/data"),
    ],
)
def test_the_path_is_read_below_the_root_of_the_application(path, root, below):
    assert read_path(scope(path.encode(), root=root)) == below


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("/.%;\\ab2feEFcC5A~é+ ?#\x00"), max_size=12).map(lambda text: "/" + text))
@rule("V5", "KF-71")
def test_what_is_read_is_what_a_router_sees_and_the_only_spelling_of_it(text):
    raw = text.encode()
    if is_refused(scope(raw)):
        return
    path = read_path(scope(raw))
    assert path == unquote(text) == unquote(path)
    assert quote(path, safe="/!$&'()*+,:=@") == quote(unquote(text), safe="/!$&'()*+,:=@")
    assert "//" not in path
    assert not {".", ".."} & set(path.split("/"))
