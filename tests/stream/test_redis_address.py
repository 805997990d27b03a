"""Which URLs can name a Redis. A URL that redis-py would misread is refused, and the message does not repeat it."""

import msgspec
import pytest
from redis.asyncio.connection import parse_url
from shared_schemas.service.settings import SettingsRejected, from_environ
from shared_schemas.stream.address import fault_of_url
from shared_schemas.stream.redis_settings import RedisSettings

SECRET = "s3cret"

GOOD = [
    ("redis://127.0.0.1:6379/0", {"host": "127.0.0.1", "port": 6379, "db": 0}),
    ("redis://redis", {"host": "redis"}),
    ("redis://[::1]:6380/15", {"host": "::1", "port": 6380, "db": 15}),
    ("redis://me:a%2Fb%23c@h/1", {"username": "me", "password": "a/b#c", "host": "h", "db": 1}),
    ("redis://:a@b@h", {"password": "a@b", "host": "h"}),
    ("redis://h?db=3", {"host": "h", "db": 3}),
    ("redis://h?username=u&password=a%2Bb", {"host": "h", "username": "u", "password": "a+b"}),
    ("unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
    ("rediss://h:1/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none", {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "none"}),
]

BAD = [
    ("", "must begin with"),
    ("127.0.0.1:6379", "must begin with"),
    (f"http://:{SECRET}@h", "must begin with"),
    (f"REDIS://:{SECRET}@h", "must begin with"),
    (f"redis+sentinel://:{SECRET}@h", "must begin with"),
    (f" redis://:{SECRET}@h", "must begin with"),
    (f"redis://:{SECRET}@h/0\n", "white space"),
    (f"redis://:s3 {SECRET}@h/0", "white space"),
    (f"redis://:{SECRET}[@h/0", "percent-encoded"),
    (f"redis://:{SECRET}/x@h:6379/0", "percent-encoded"),
    (f"redis://:{SECRET}?x=y@h:6379/0", "percent-encoded"),
    (f"redis://:{SECRET}#x@h:6379/0", "percent-encoded"),
    (f"redis://u:1?{SECRET}@h:6379/0", "percent-encoded"),
    (f"redis://h:{SECRET}/0", "port"),
    ("redis://h:0/0", "port"),
    ("redis://h:65536/0", "port"),
    ("redis://h:-1/0", "port"),
    ("redis://::1:6379/0", "port"),
    ("redis://a:1,b:2/0", "port"),
    (f"redis://h/{SECRET}", "number of a database"),
    ("redis://h/-1", "number of a database"),
    ("redis://h/1/2", "number of a database"),
    ("redis://h/٣", "number of a database"),
    ("redis://h?db=one", "option db"),
    ("redis://h/1?db=2", "both by its path and by the option db"),
    ("redis://h/0?protocol=3", "option protocol, which Headrace sets itself"),
    ("redis://h/0?protocol=2", "option protocol, which Headrace sets itself"),
    ("redis://h/0?decode_responses=true", "option decode_responses, which Headrace sets itself"),
    ("redis://h/0?socket_timeout=1", "option socket_timeout, which Headrace sets itself"),
    ("redis://h/0?max_connections=few", "option max_connections, which Headrace sets itself"),
    ("redis://h/0?health_check_interval=5", "option health_check_interval, which Headrace sets itself"),
    ("redis://h/0?legacy_responses=no", "option legacy_responses, which Headrace sets itself"),
    ("redis://h/0?tiemout=5", "option tiemout, which is not known"),
    (f"redis://h/0?{SECRET}", "without a value"),
    ("redis://h/0?client_name=a&client_name=b", "more than once"),
    ("redis://h/0?password=a+b", "%2B"),
    ("redis://h/0?ssl_ca_certs=/ca.pem", "ssl_ca_certs, which is for rediss:// alone"),
    ("rediss://h/0?ssl_cert_reqs=perhaps", "option ssl_cert_reqs"),
    ("rediss://h/0?ssl_min_version=TLSv1_2", "option ssl_min_version"),
    ("rediss://h/0?ssl_ca_certs=", "option ssl_ca_certs"),
    ("unix://run/redis.sock", "whole path"),
    ("unix://", "whole path"),
]


@pytest.mark.quick
@pytest.mark.parametrize(("url", "parts"), GOOD)
def test_a_url_that_is_taken_means_what_the_client_library_reads(url: str, parts: dict[str, object]) -> None:
    assert fault_of_url(url) is None
    read = parse_url(url)
    assert {name: read[name] for name in parts} == parts


@pytest.mark.quick
@pytest.mark.parametrize(("url", "words"), BAD)
def test_a_url_that_would_be_read_otherwise_than_meant_is_refused_by_name_and_not_repeated(
    url: str, words: str
) -> None:
    with pytest.raises(SettingsRejected) as caught:
        from_environ(RedisSettings, prefix="HEADRACE_", environ={"HEADRACE_REDIS_URL": url})

    message = str(caught.value)
    assert message.startswith("HEADRACE_REDIS_URL: ")
    assert words in message
    assert SECRET not in message
    assert "\n" not in message


@pytest.mark.quick
@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"redis_user": "me"}, "HEADRACE_REDIS_USER"),
        ({"redis_url": f"redis://:{SECRET}@h/0", "redis_password_file": "/run/password"}, "HEADRACE_REDIS_URL"),
    ],
)
def test_credentials_that_do_not_fit_together_are_refused(given: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsRejected, match=f"^{variable}: ") as caught:
        RedisSettings(**given)

    assert SECRET not in str(caught.value)


@pytest.mark.quick
def test_settings_can_be_changed_in_part() -> None:
    settings = RedisSettings(redis_url="redis://h/1")

    assert msgspec.structs.replace(settings, redis_timeout_s=1.0).redis_address == "redis://h/1"
