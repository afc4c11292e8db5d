"""What is dangerous to do twice is done in one place. Each list names the door and, with its reason, who else may."""

import ast
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests import rule
from tests.architecture.sources import Module, calls_in, dotted, imports_of, last_name, modules

SHIPPED = [module for module in modules() if module.part != "testing"]
"""``watchword.testing`` makes bad input by hand, so it is not held to the doors."""

COMPARING = {
    "watchword.protocol.client_secret": "the door",
}
FETCHING = {
    "watchword.adapters.outbound": "the door",
    "watchword.adapters.outbound_failures": "the door: what goes wrong behind it",
    "watchword.adapters.outbound_stream": "the door: answers without an end",
    "watchword.integrations.httpx2": "sends nothing: dresses the requests of the caller's own client",
    "watchword.cli.curl": "the one request its user has written, with the user's own token",
    "watchword.cli.admin_client": "the operator's own admin API, or the same in process",
}
FORMS = {
    "watchword.adapters.postgres_url": "the options of a database's URL, read as its library reads them",
    "watchword.protocol.form": "the door",
    "watchword.adapters.redis_url": "a name and a password in a setting of our own",
    "watchword.protocol.certificate_header": "a header of a proxy, with a set of characters of its own",
    "watchword.resource.paths": "a path, which is no form: a plus sign is itself",
}
DECODING = {
    "watchword.protocol.base64url": "the door",
    "watchword.adapters.keys_http": "services that keep keys write plain base64",
    "watchword.adapters.master_key": "a file that people write with the tools of their system: plain base64",
    "watchword.protocol.client_secret": "Basic has the plain alphabet",
    "watchword.protocol.x5c": "certificates have the plain alphabet, too",
}
JOSE = {
    "watchword.protocol.public_keys": "behind the door: keys and thumbprints",
    "watchword.protocol.private_keys": "behind the door: keys",
}
CLOCKS = {"watchword.clock": "the door"}
CHANCE = {
    "watchword.client.retry": "spreads retries over time: no secret",
    "watchword.resource.feed_reader": "spreads reconnections over time: no secret",
}
BROAD_EXCEPTS = {
    "watchword.adapters.keys_pkcs11": "a dead thread would leave every later signature waiting",
    "watchword.adapters.postgres_replay": "a dead task would leave every later claim waiting",
    "watchword.adapters.sqlite_replay": "a dead thread would leave every later claim waiting",
    "watchword.adapters.postgres_writer": "a dead writer would leave every later commit waiting",
    "watchword.adapters.sqlite_writer": "a dead writer would leave every later commit waiting",
    "watchword.asgi.admin_gate": "the last resort of the admin API",
    "watchword.asgi.app": "the last resort of the OAuth endpoints",
    "watchword.asgi.feed": "the last resort of the feed, whose answer may have begun",
    "watchword.asgi.workers": "a worker that ends says why to the supervisor, which raises it",
    "watchword.cli.app": "the last resort of the command line",
    "watchword.server.feed": "a feed that can say nothing now says nothing, and tries again",
    "watchword.server.offices": "a node that cannot report now, or a job that fails, is witnessed and tried again",
    "watchword.resource.guard": "whatever went wrong in deciding, nobody passes",
    "watchword.resource.feed_reader": "a thread that goes on has no caller to raise to",
    "watchword.resource.jwks_cache": "a refresh in the background has no caller to raise to",
}

REQUEST_LINES = {
    "watchword.asgi.connection": "how many bytes they are",
    "watchword.asgi.wire": "the bytes of the request line itself, before anything is rebuilt from them",
}

HTTP_LIBRARIES = {"aiohttp", "http.client", "httpcore", "httpx", "httpx2", "requests", "urllib.request", "urllib3"}
JOSE_LIBRARIES = {"authlib", "jose", "joserfc", "jwcrypto", "jwt"}
FORM_READERS = {"parse_qs", "parse_qsl", "unquote", "unquote_plus", "unquote_to_bytes", "form"}
BASE64_READERS = {
    "a2b_base64",
    "b64decode",
    "decodebytes",
    "standard_b64decode",
    "urlsafe_b64decode",
    "b85decode",
    "b32decode",
}
WALL_CLOCKS = {"date.today", "datetime.now", "datetime.today", "datetime.utcnow", "time.time", "time.time_ns"}
NEVER = {"eval", "exec", "os.popen", "os.system", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads"}


def importing(libraries: set[str]) -> Callable[[Module], bool]:
    def does(module: Module) -> bool:
        return any(one.target in libraries or one.target.partition(".")[0] in libraries for one in imports_of(module))

    return does


def calling(names: set[str]) -> Callable[[Module], bool]:
    """By the last name, or by the two last where the list has a dot."""

    def does(module: Module) -> bool:
        return any(
            name in names or ".".join(dotted(call.func).split(".")[-2:]) in names
            for name, call in calls_in(module.tree)
        )

    return does


def mentioning(name: str) -> Callable[[Module], bool]:
    def does(module: Module) -> bool:
        expressions = (node for node in ast.walk(module.tree) if isinstance(node, (ast.Attribute, ast.Name, ast.alias)))
        return any((node.name if isinstance(node, ast.alias) else last_name(node)) == name for node in expressions)

    return does


def swallows_anything(module: Module) -> bool:
    """Catches every exception and does not raise it again."""
    handlers = (node for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler))
    return any(_is_broad(handler) and not _raises_again(handler) for handler in handlers)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return not {"", "Exception", "BaseException"}.isdisjoint(_caught(handler.type))


def _caught(caught: ast.expr | None) -> Iterable[str]:
    if isinstance(caught, ast.Tuple):
        return [last_name(element) for element in caught.elts]
    return [last_name(caught) if caught else ""]


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


@rule("KF-6", "DR-3", "DR-4", "KF-111")
@pytest.mark.parametrize(
    ("does", "allowed"),
    [
        pytest.param(mentioning("compare_digest"), COMPARING, id="comparing secrets"),
        pytest.param(importing(HTTP_LIBRARIES), FETCHING, id="fetching"),
        pytest.param(calling(FORM_READERS), FORMS, id="reading forms"),
        pytest.param(calling(BASE64_READERS), DECODING, id="decoding base64"),
        pytest.param(importing(JOSE_LIBRARIES), JOSE, id="using a JOSE library"),
        pytest.param(calling(WALL_CLOCKS), CLOCKS, id="reading the time"),
        pytest.param(importing({"random"}), CHANCE, id="chance that may be guessed"),
        pytest.param(swallows_anything, BROAD_EXCEPTS, id="swallowing any exception"),
        pytest.param(importing({"multipart", "python_multipart"}), {}, id="parsing multipart"),
        pytest.param(calling(NEVER), {}, id="running or unpickling text"),
    ],
)
def test_each_door_is_single(does, allowed):
    through = {module.name for module in SHIPPED if does(module)}
    assert (through - allowed.keys(), "a second door") == (set(), "a second door")
    assert (allowed.keys() - through, "not used any more") == (set(), "not used any more")


@rule("KF-108", "DR-5")
def test_no_decision_is_made_on_a_url_rebuilt_from_a_header():
    assert {module.name for module in SHIPPED if list(_rebuilt_urls(module))} == REQUEST_LINES.keys()


def _rebuilt_urls(module: Module) -> Iterator[int]:
    if module.part not in {"asgi", "console", "operations", "server"}:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and (
            node.attr in {"base_url", "url_for"} or dotted(node) in {"request.url", "self.url"}
        ):
            yield node.lineno


def test_no_shell_is_started():
    shells = [
        module.name
        for module in SHIPPED
        for _, call in calls_in(module.tree)
        if any(keyword.arg == "shell" for keyword in call.keywords)
    ]
    assert shells == []


def test_a_second_door_would_be_seen():
    """The checks themselves: each of these sources must be caught."""
    for does, source in [
        (mentioning("compare_digest"), "from hmac import compare_digest as same"),
        (mentioning("compare_digest"), "secrets.compare_digest(a, b)"),
        (importing(HTTP_LIBRARIES), "def f():\n    import urllib.request"),
        (calling(FORM_READERS), "async def f(request):\n    return await request.form()"),
        (calling(BASE64_READERS), "base64.urlsafe_b64decode(x)"),
        (calling(WALL_CLOCKS), "import datetime\ndatetime.datetime.now()"),
        (calling(WALL_CLOCKS), "time.time()"),
        (swallows_anything, "try:\n    f()\nexcept (ValueError, Exception):\n    pass"),
        (swallows_anything, "try:\n    f()\nexcept:\n    g()"),
        (lambda module: bool(list(_rebuilt_urls(module))), "path = request.url.path"),
    ]:
        assert does(Module("watchword.asgi.x", modules()[0].path, ast.parse(source))), source
