from __future__ import annotations

import os
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests import rule
from watchword.client.variables import CLIENT_VARIABLES
from watchword.config import load_settings
from watchword.environment import LIMIT_NAMES, SECRET_NAMES, SERVER_NAMES, check_environment
from watchword.errors import BadSettings
from watchword.listening import Address, default_listen, parse_listen
from watchword.ports.ratelimit import Rate
from watchword.protocol import names
from watchword.server.limits import Limits
from watchword.settings import ServerSettings

ISSUER = "https://auth.example.com"


def _load(tmp_path: Path, environ: dict[str, str] | None = None, **flags: object):
    given = {"issuer": ISSUER, "data": str(tmp_path / "data"), **flags}
    return load_settings(given, environ=environ or {}, directory=tmp_path)


def _write(directory: Path, text: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "watchword.toml"
    path.write_text(text)
    return path


def test_the_names_of_the_environment_are_the_fields_of_the_model():
    assert {*SERVER_NAMES, "limits"} == set(ServerSettings.model_fields)
    assert [field.name for field in fields(Limits)] == list(LIMIT_NAMES)


def test_limits_come_from_the_same_sources(tmp_path):
    _write(tmp_path, '[limits]\npeer = "10/1s"\nagent = "20/2s"\nconcurrent_requests = 7\n')
    in_data = _write(tmp_path / "data", '[limits]\nagent = "30/3s"\n')
    loaded = _load(tmp_path, {"WATCHWORD_LIMITS__PEER": "5/86400s", "WATCHWORD_LIMITS__CONCURRENT_ADMIN_REQUESTS": "3"})
    assert loaded.settings.limits == Limits(
        peer=Rate(5, timedelta(days=1)),
        agent=Rate(30, timedelta(seconds=3)),
        concurrent_requests=7,
        concurrent_admin_requests=3,
    )
    assert {name: where for name, where in loaded.origins.items() if name.startswith("limits.")} == {
        "limits.peer": "environment WATCHWORD_LIMITS__PEER",
        "limits.agent": f"file {in_data}",
        "limits.login_failures": "default",
        "limits.peer_failures": "default",
        "limits.concurrent_requests": f"file {tmp_path / 'watchword.toml'}",
        "limits.concurrent_admin_requests": "environment WATCHWORD_LIMITS__CONCURRENT_ADMIN_REQUESTS",
    }


@pytest.mark.parametrize(
    "value",
    ["0/1s", "1/0s", "20", "20/60", "20/1m", "-1/1s", "1/86401s", "1.5/1s", "9999999999/1s", "20 per minute", "off"],
)
def test_what_is_no_rate_is_refused_by_name(tmp_path, value):
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path, {"WATCHWORD_LIMITS__PEER": value})
    assert caught.value.reason == "settings.limits"
    assert "limits.peer" in caught.value.detail


@pytest.mark.parametrize("value", ["0", "-1", "100000", "1.5", "many", "1/1s", "true", "[1]"])
def test_what_is_no_number_of_requests_is_refused_by_name(tmp_path, value):
    _write(tmp_path, f"[limits]\nconcurrent_requests = {value if value in ('true', '[1]', '1.5') else repr(value)}\n")
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path)
    assert caught.value.reason == "settings.limits"
    assert "limits.concurrent_requests" in caught.value.detail


def test_an_unknown_limit_is_refused_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(BadSettings, match="did you mean WATCHWORD_LIMITS__PEER_FAILURES"):
        check_environment({"WATCHWORD_LIMITS__PEERFAILURES": "1/1s"})
    _write(tmp_path, '[limits]\npeer_failure = "1/1s"\n')
    with pytest.raises(BadSettings, match=r"did you mean limits\.peer_failures"):
        _load(tmp_path)
    _write(tmp_path, "limits = 5\n")
    with pytest.raises(BadSettings, match=r"write \[limits\]"):
        _load(tmp_path)


def test_every_secret_may_also_stand_in_a_file():
    assert all(f"{name}_file" in SERVER_NAMES for name in SECRET_NAMES)
    secrets = [name for name in CLIENT_VARIABLES if name.endswith(("_SECRET", "_TOKEN", "_API_KEY"))]
    assert all(f"{name}_FILE" in CLIENT_VARIABLES for name in secrets)


def test_the_signing_algorithms_are_those_of_the_protocol(tmp_path):
    for algorithm in names.SIGNING_ALGORITHMS:
        assert _load(tmp_path, signing_algorithm=algorithm).settings.signing_algorithm == algorithm


def test_a_flag_beats_the_environment_which_beats_the_files_which_beat_the_default(tmp_path):
    _write(tmp_path, '[server]\nlog_level = "error"\nsigning_algorithm = "PS256"\nallowed_hosts = ["here.example"]\n')
    in_data = _write(tmp_path / "data", '[server]\nlog_level = "warning"\nsigning_algorithm = "ES384"\n')
    environ = {"WATCHWORD_SERVER__LOG_LEVEL": "debug", "WATCHWORD_SERVER__LISTEN": "127.0.0.1:1"}

    loaded = _load(tmp_path, environ, listen="127.0.0.1:2")

    settings = loaded.settings
    assert (settings.listen, settings.log_level, settings.signing_algorithm) == (
        Address("127.0.0.1", 2),
        "debug",
        "ES384",
    )
    assert settings.allowed_hosts == ("here.example",)
    assert {name: loaded.origins[name] for name in ("listen", "log_level", "signing_algorithm", "log_format")} == {
        "listen": "flag --listen",
        "log_level": "environment WATCHWORD_SERVER__LOG_LEVEL",
        "signing_algorithm": f"file {in_data}",
        "log_format": "default",
    }
    assert loaded.origins["allowed_hosts"] == f"file {tmp_path / 'watchword.toml'}"


def test_the_data_directory_may_come_from_the_flat_name(tmp_path):
    loaded = load_settings({"issuer": ISSUER}, environ={"WATCHWORD_DATA": "/srv/ww"}, directory=tmp_path)
    assert (loaded.settings.data, loaded.origins["data"]) == (Path("/srv/ww"), "environment WATCHWORD_DATA")


def test_a_relative_path_in_a_file_is_taken_from_its_directory(tmp_path):
    _write(tmp_path / "data", '[server]\ntls_cert = "tls/cert.pem"\ntls_key = "/etc/key.pem"\n')
    settings = _load(tmp_path).settings
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "data/tls/cert.pem", Path("/etc/key.pem"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WATCHWORD_SERVER__ISUER", "WATCHWORD_SERVER__ISSUER"),
        ("WATCHWORD_SERVER_ISSUER", "WATCHWORD_SERVER__ISSUER"),
        ("WATCHWORD_CLIENT_SECERT", "WATCHWORD_CLIENT_SECRET"),
        ("WATCHWORD_SERVER__MASTER_KEYFILE", "WATCHWORD_SERVER__MASTER_KEY_FILE"),
    ],
)
def test_an_unknown_environment_name_is_refused_with_the_one_that_was_meant(name, meant):
    with pytest.raises(BadSettings) as caught:
        check_environment({name: "the-value"})
    assert caught.value.reason == "settings.unknown_environment"
    assert f"did you mean {meant}?" in caught.value.detail
    assert "the-value" not in caught.value.detail


def test_a_hopeless_environment_name_is_refused_without_a_guess():
    with pytest.raises(BadSettings) as caught:
        check_environment({"WATCHWORD_ZZZ": "x"})
    assert "did you mean" not in caught.value.detail


def test_the_names_of_the_test_suite_and_of_others_are_let_through():
    check_environment({"WATCHWORD_TEST_REQUIRE_ALL": "1", "PATH": "/bin", "WATCHWORDS": "x", "WATCHWORD_URL": "x"})


def test_what_kubernetes_sets_beside_a_service_of_this_name_is_let_through():
    check_environment(
        {
            "WATCHWORD_PORT": "tcp://10.0.0.1:8020",
            "WATCHWORD_SERVICE_HOST": "10.0.0.1",
            "WATCHWORD_SERVICE_PORT": "8020",
            "WATCHWORD_SERVICE_PORT_HTTP": "8020",
            "WATCHWORD_PORT_8020_TCP_ADDR": "10.0.0.1",
            "WATCHWORD_EU_WEST_PORT_8020_TCP": "tcp://10.0.0.1:8020",
        }
    )
    for name in ("WATCHWORD_PORT", "WATCHWORD_SERVER__PORT"):
        with pytest.raises(BadSettings):
            check_environment({name: "8020"})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('[server]\nlissen = "127.0.0.1:1"\n', "server.listen"),
        ('[serve]\nlisten = "127.0.0.1:1"\n', "server"),
        ('listen = "127.0.0.1:1"\n', None),
    ],
)
def test_an_unknown_key_of_a_file_is_refused(tmp_path, text, meant):
    path = _write(tmp_path, text)
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path)
    assert caught.value.reason == "settings.unknown_key"
    assert str(path) in caught.value.detail
    assert (f"did you mean {meant}?" in caught.value.detail) is (meant is not None)


@pytest.mark.parametrize(
    "text",
    ["[server\n", "server = 1\n", '[server]\nmaster_key = "0123456789abcdef"\n', '[server]\ndata = "/elsewhere"\n'],
    ids=["syntax", "no_section", "secret", "moves_itself"],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text):
    _write(tmp_path / "data", text)
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path)
    assert caught.value.reason == "settings.file"
    assert "0123456789abcdef" not in caught.value.detail


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "watchword.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path)
    assert caught.value.reason == "settings.file"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"log_level": "loud"}, "settings.value"),
        ({"signing_algorithm": "HS256"}, "settings.value"),
        ({"insecure_http": "perhaps"}, "settings.value"),
        ({"trusted_proxies": "10.0.0.0/33"}, "settings.trusted_proxies"),
        ({"trusted_proxies": "10.0.0.1/8"}, "settings.trusted_proxies"),
        ({"allowed_hosts": "https://a.example"}, "settings.allowed_hosts"),
        ({"allowed_hosts": "*.example"}, "settings.allowed_hosts"),
        ({"tls_cert": "/c.pem"}, "settings.tls"),
        ({"tls_key": "/k.pem"}, "settings.tls"),
        ({"issuer": "http://auth.example.com"}, "settings.issuer"),
        ({"issuer": "https://auth.example.com/"}, "settings.issuer"),
        ({"issuer": "https://auth.example.com/?a=b"}, "settings.issuer"),
        ({"issuer": "auth.example.com"}, "settings.issuer"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(tmp_path, flags, reason):
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path, **flags)
    assert caught.value.reason == reason


def test_a_refused_value_names_its_setting_and_its_origin(tmp_path):
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path, {"WATCHWORD_SERVER__LOG_LEVEL": "loud"})
    assert "log_level (environment WATCHWORD_SERVER__LOG_LEVEL)" in caught.value.detail


@pytest.mark.parametrize("name", ["issuer", "data"])
def test_what_has_no_default_must_be_given(tmp_path, name):
    given = {"issuer": ISSUER, "data": str(tmp_path)}
    del given[name]
    with pytest.raises(BadSettings) as caught:
        load_settings(given, environ={}, directory=tmp_path)
    assert caught.value.reason == "settings.missing"


@rule("A16")
def test_the_master_key_shows_in_no_repr_and_no_refusal(tmp_path):
    environ = {"WATCHWORD_SERVER__MASTER_KEY": "5ec4e7" * 8}
    assert "5ec4e7" not in repr(_load(tmp_path, environ))
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path, {**environ, "WATCHWORD_SERVER__MASTER_KEY_FILE": "/k"})
    assert caught.value.reason == "settings.master_key"
    assert "5ec4e7" not in str(caught.value)
    with pytest.raises(ValidationError) as refused:
        ServerSettings.model_validate({"issuer": ISSUER, "data": "d", "master_key": ["5ec4e7"]})
    assert "5ec4e7" not in str(refused.value)


def test_the_nearer_source_decides_between_a_secret_and_its_file(tmp_path):
    _write(tmp_path / "data", '[server]\nmaster_key_file = "key"\n')
    settings = _load(tmp_path, {"WATCHWORD_SERVER__MASTER_KEY": "abc"}).settings
    assert settings.master_key is not None
    assert settings.master_key_file is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8020", Address("127.0.0.1", 8020)),
        ("[::1]:8020", Address("::1", 8020)),
        ("localhost:0", Address("localhost", 0)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535)),
    ],
)
def test_a_listen_address_is_read_and_written_alike(text, address):
    assert parse_listen(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8020",
        ":8020",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "::1:8020",
        "[::1]",
        "[127.0.0.1]:1",
        "a b:1",
        "h:-1",
    ],
)
def test_a_listen_address_that_could_mean_two_things_is_refused(text):
    with pytest.raises(BadSettings) as caught:
        parse_listen(text)
    assert caught.value.reason == "settings.listen"


@pytest.mark.parametrize(
    ("issuer", "listen"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("http://localhost:9000/tenant", "localhost:9000"),
        ("https://auth.example.com", "127.0.0.1:8020"),
        ("https://127.0.0.1:9000", "127.0.0.1:8020"),
    ],
)
def test_without_listen_a_loopback_issuer_says_where(tmp_path, issuer, listen):
    assert str(default_listen(issuer)) == listen
    assert str(_load(tmp_path, issuer=issuer).settings.listen) == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8020", "[::]:8020", "192.0.2.1:8020", "auth.example.com:8020"])
def test_plain_http_that_others_can_reach_is_refused(tmp_path, listen):
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path, listen=listen).settings.check_exposure()
    assert caught.value.reason == "settings.plain_http"
    assert all(flag in caught.value.detail for flag in ("--tls-cert", "--trusted-proxy", "--insecure-http"))


@pytest.mark.parametrize(
    "flags",
    [
        {"listen": "127.0.0.1:8020"},
        {"listen": "[::1]:8020"},
        {"listen": "localhost:8020"},
        {"listen": "0.0.0.0:8020", "insecure_http": True},
        {"listen": "0.0.0.0:8020", "trusted_proxies": "10.0.0.0/8, 192.0.2.7"},
        {"listen": "0.0.0.0:8020", "tls_cert": "/c.pem", "tls_key": "/k.pem"},
    ],
)
def test_plain_http_is_accepted_where_it_is_safe_or_wanted(tmp_path, flags):
    settings = _load(tmp_path, **flags).settings
    settings.check_exposure()
    assert str(settings.listen) == flags["listen"]


def test_another_users_file_in_the_current_directory_is_refused(tmp_path, monkeypatch):
    path = _write(tmp_path, "[server]\n")
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 54321)
    with pytest.raises(BadSettings) as caught:
        _load(tmp_path)
    assert caught.value.reason == "settings.file"


def test_the_password_of_a_cache_stands_in_no_settings_file_and_is_never_shown(tmp_path):
    _write(tmp_path, '[server]\ncache = "redis://cache.example.com/1"\n')
    assert str(_load(tmp_path).settings.cache) == "redis://cache.example.com:6379/1"
    _write(tmp_path, '[server]\ncache = "redis://:sesame@cache.example.com"\n')
    with pytest.raises(BadSettings, match="cache_file") as caught:
        _load(tmp_path)
    assert "sesame" not in str(caught.value)
    _write(tmp_path, "")
    settings = _load(tmp_path, {"WATCHWORD_SERVER__CACHE": "redis://:sesame@cache.example.com"}).settings
    assert "sesame" not in repr(settings)
    with pytest.raises(BadSettings, match=r"settings\.cache"):
        _load(
            tmp_path,
            {"WATCHWORD_SERVER__CACHE": "redis://:sesame@cache.example.com", "WATCHWORD_SERVER__CACHE_FILE": "x"},
        )
    with pytest.raises(BadSettings, match=r"settings\.cache") as caught:
        _load(tmp_path, {"WATCHWORD_SERVER__CACHE": "http://:sesame@cache.example.com"})
    assert "sesame" not in str(caught.value)


@rule("FAPI2-AS-04")
@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_a_profile_and_an_algorithm_that_exclude_each_other_are_refused_with_a_sentence(tmp_path, algorithm):
    with pytest.raises(BadSettings, match=f"fapi2 does not sign with {algorithm}") as caught:
        _load(tmp_path, security_profile="fapi2", signing_algorithm=algorithm)
    assert caught.value.reason == "settings.security_profile"
    assert _load(tmp_path, security_profile="fapi2").settings.security_profile == "fapi2"


def test_a_profile_for_banks_does_not_go_with_plain_http(tmp_path):
    with pytest.raises(BadSettings, match="exclude each other"):
        _load(tmp_path, security_profile="fapi2", insecure_http=True)
