"""How the gateway and its proxy are found: both clients and the command line find the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from headrace import AsyncClient, Client, InvalidSettings, Settings
from headrace.addresses import address_of, find, proxy_for

CONFIG = """
[profiles.lab]
url = "https://lab.example/headrace/"

[profiles.wrong]
ulr = "http://x"

[profiles.none]
"""
CLEAN = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and "HEADRACE" not in name}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "headrace"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, "http://127.0.0.1:8000"),
        ({}, {"HEADRACE_URL": "http://a:1"}, "http://a:1"),
        ({}, {"HEADRACE_URL": ""}, "http://127.0.0.1:8000"),
        ({"url": "http://b:2"}, {"HEADRACE_URL": "http://a:1", "HEADRACE_PROFILE": "lab"}, "http://b:2"),
        ({"profile": "lab"}, {"HEADRACE_URL": "http://a:1"}, "https://lab.example/headrace"),
        ({}, {"HEADRACE_PROFILE": "lab"}, "https://lab.example/headrace"),
        ({}, {"HEADRACE_URL": "http://a:1", "HEADRACE_PROFILE": "lab"}, "http://a:1"),
    ],
)
def test_what_is_nearer_counts_first(
    home: Path, given: dict[str, str], environment: dict[str, str], expected: str
) -> None:
    assert find(**given, environ={"XDG_CONFIG_HOME": str(home)} | environment).origin == expected


def test_a_file_may_name_the_profile_to_begin_with(home: Path) -> None:
    (home / "headrace" / "config.toml").write_text('profile = "lab"\n' + CONFIG)

    assert find(environ={"XDG_CONFIG_HOME": str(home)}).origin == "https://lab.example/headrace"
    assert find(environ={"XDG_CONFIG_HOME": str(home), "HEADRACE_URL": "http://a:1"}).origin == "http://a:1"


@pytest.mark.parametrize(
    ("profile", "text", "message"),
    [
        ("lob", CONFIG, "it has lab, none, wrong"),
        ("lab", "", "it has none"),
        ("lab", "profiles = 3", "it has none"),
        ("lab", "[profiles", "is not TOML"),
        ("wrong", CONFIG, "'ulr'"),
        ("none", CONFIG, "is not a URL"),
    ],
)
def test_a_profile_that_leads_nowhere_says_why_and_in_which_file(
    home: Path, profile: str, text: str, message: str
) -> None:
    file = home / "headrace" / "config.toml"
    file.write_text(text)

    with pytest.raises(InvalidSettings) as caught:
        find(environ={"XDG_CONFIG_HOME": str(home), "HEADRACE_PROFILE": profile})

    assert message in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://localhost:8000/", "http://localhost:8000"),
        ("HTTP://Gateway.Example", "http://gateway.example"),
        ("http://gateway.example:80", "http://gateway.example"),
        ("https://gateway.example:443/a/b//", "https://gateway.example/a/b"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        (" http://gateway.example:1 ", "http://gateway.example:1"),
        ("http://me:p%40ss@gateway.example", "http://gateway.example"),
        ("http://gateway_1:8000", "http://gateway_1:8000"),
        ("http://bücher.example", "http://bücher.example"),
    ],
)
def test_a_url_is_read_as_browsers_read_it(url: str, origin: str) -> None:
    assert address_of(url, "the URL").origin == origin


def test_a_user_in_a_url_is_sent_and_never_shown() -> None:
    address = address_of("http://me:p%40ss@gateway.example", "the URL")

    assert address.authorization() == "Basic bWU6cEBzcw=="
    assert "ss" not in address.origin


MALFORMED = [
    ("localhost:8000", "no scheme"),
    ("gateway.example", "no scheme"),
    ("", "no scheme"),
    ("ftp://gateway.example", "'ftp'"),
    ("redis://127.0.0.1", "'redis'"),
    ("http://", "no host"),
    ("http://:8000", "no host"),
    ("http://[::1", "malformed"),
    ("http://gateway:80000", "port"),
    ("http://gateway:x", "port"),
    ("http://gateway:0", "no port"),
    ("http://gate way", "blank"),
    ("http://gateway\n", "blank"),
    ("http://gateway/?a=1", "query"),
    ("http://gateway/#a", "fragment"),
    ("http://" + "a" * 64 + ".example", "not a valid name"),
]


@pytest.mark.parametrize(("url", "message"), MALFORMED)
def test_a_malformed_url_is_one_line_for_both_clients(url: str, message: str) -> None:
    for client in (Client, AsyncClient):
        if url.strip() != url:
            url = "http://gate\nway"
        with pytest.raises(InvalidSettings, match=message) as caught:
            client(url)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("url", "message"), MALFORMED)
def test_a_malformed_url_of_the_environment_is_said_to_be_of_it(url: str, message: str) -> None:
    if url.strip() == "":
        return
    with pytest.raises(InvalidSettings, match="HEADRACE_URL"):
        find(environ={"HEADRACE_URL": url.replace("way\n", "w\nay")})


GATEWAY = "http://gateway.example:8000"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        (GATEWAY, {}, None),
        (GATEWAY, {"http_proxy": "http://p:1"}, "http://p:1"),
        (GATEWAY, {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        (GATEWAY, {"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:2"}, "http://p:1"),
        (GATEWAY, {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        (GATEWAY, {"https_proxy": "http://p:1"}, None),
        ("https://gateway.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        (GATEWAY, {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        (GATEWAY, {"all_proxy": "http://p:1", "http_proxy": "q:2"}, "http://q:2"),
        (GATEWAY, {"http_proxy": "p:1"}, "http://p:1"),
        (GATEWAY, {"http_proxy": "http://me:secret@p:1/"}, "http://p:1"),
        (GATEWAY, {"http_proxy": "", "ALL_PROXY": ""}, None),
        (GATEWAY, {"http_proxy": "p:1", "no_proxy": "*"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "gateway.example"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "GATEWAY.EXAMPLE"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "a.example, .example"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "a.example example"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "*.example"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "gateway.example:8000"}, None),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "gateway.example:9"}, "http://p:1"),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "way.example"}, "http://p:1"),
        (GATEWAY, {"http_proxy": "p:1", "NO_PROXY": "http://gateway.example"}, None),
        ("http://10.1.2.3", {"http_proxy": "p:1", "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://11.1.2.3", {"http_proxy": "p:1", "NO_PROXY": "10.0.0.0/8"}, "http://p:1"),
        ("http://[fd00::1]", {"http_proxy": "p:1", "NO_PROXY": "[fd00::1]"}, None),
        ("http://127.0.0.1:8000", {"http_proxy": "p:1", "ALL_PROXY": "socks5://p:1"}, None),
        ("http://127.5.5.5", {"all_proxy": "socks5://p:1"}, None),
        ("http://localhost:8000", {"all_proxy": "nonsense://"}, None),
        ("http://[::1]:8000", {"all_proxy": "socks5://p:1"}, None),
        (GATEWAY, {"all_proxy": "socks5://p:1", "NO_PROXY": "example"}, None),
        (GATEWAY, {"all_proxy": "socks5://p:1", "http_proxy": "p:2"}, "http://p:2"),
    ],
)
def test_a_proxy_is_chosen_as_curl_chooses_it(url: str, environment: dict[str, str], proxy: str | None) -> None:
    chosen = proxy_for(address_of(url, "the URL"), environment)

    assert (chosen and chosen.origin) == proxy


@pytest.mark.parametrize("value", ["socks5://p:1", "socks5h://me:secret@p:1", "socks4://p", "SOCKS5://p:1"])
def test_a_socks_proxy_is_one_line_that_says_what_to_do(value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        proxy_for(address_of(GATEWAY, "the URL"), {"ALL_PROXY": value})

    assert str(caught.value).startswith("ALL_PROXY names a SOCKS proxy")
    assert "add gateway.example to NO_PROXY" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["http://[::1", "http://p:99999", "ftp://p:1", "http://", "p:x", "://p", "a b"])
def test_a_malformed_proxy_is_one_line_that_names_its_variable(value: str) -> None:
    with pytest.raises(InvalidSettings, match="http_proxy"):
        proxy_for(address_of(GATEWAY, "the URL"), {"http_proxy": value})


def test_a_client_can_be_set_to_use_no_proxy() -> None:
    program = f"import headrace as h; print(h.Client({GATEWAY!r}, settings=h.Settings(trust_env=False)).url)"

    done = in_a_process(program, ALL_PROXY="socks5://p:1")

    assert done.stdout == f"{GATEWAY}\n"


@pytest.mark.parametrize("client", ["Client", "AsyncClient"])
def test_both_clients_find_the_gateway_where_the_command_line_does(client: str, home: Path) -> None:
    program = f"import headrace; print(headrace.{client}().url)"

    by_url = in_a_process(program, HEADRACE_URL="http://a.example:1")
    by_profile = in_a_process(program, HEADRACE_PROFILE="lab", XDG_CONFIG_HOME=str(home))

    assert (by_url.stdout, by_profile.stdout) == ("http://a.example:1\n", "https://lab.example/headrace\n")


@pytest.mark.parametrize(
    "environment",
    [
        {"HEADRACE_URL": "nonsense"},
        {"HEADRACE_URL": GATEWAY, "ALL_PROXY": "socks5://127.0.0.1:9"},
        {"HEADRACE_URL": GATEWAY, "http_proxy": "http://[::1"},
        {"HEADRACE_PROFILE": "nowhere"},
    ],
)
def test_the_command_line_says_it_in_one_line_and_exits_with_2(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "list"],
        env=CLEAN | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "invalid_settings" in done.stderr


def test_a_url_and_a_profile_together_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="not both"):
        Client("http://a", profile="lab")
    with pytest.raises(InvalidSettings, match="not both"):
        Client(settings=Settings(url="http://a", profile="lab"))


def in_a_process(program: str, **environment: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], env=CLEAN | environment, capture_output=True, text=True, timeout=60, check=True
    )
