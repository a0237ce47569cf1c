"""Tokens, origins, names and rates."""

from __future__ import annotations

import hmac

import pytest

from lia_live.errors import ConfigError
from lia_live_server import ServerConfig
from lia_live_server.door import MOST_PEERS, Bucket, Door, RateLimit
from lia_live_server.protocol import ProtocolError
from tests.doubles import HandClock


def door(**config: object) -> Door:
    return Door(ServerConfig(**config), HandClock())


def test_without_a_token_everybody_comes_in() -> None:
    assert door().knows(None)
    assert not door().locked


def test_only_the_token_opens() -> None:
    locked = door(token="correct horse")
    assert locked.knows("correct horse")
    for wrong in (None, "", "correct hors", "correct horse ", "Correct horse", "x" * 512):
        assert not locked.knows(wrong)


def test_a_guesser_waits_even_with_the_right_token() -> None:
    clock = HandClock()
    locked = Door(ServerConfig(token="correct horse"), clock)

    def said(token: str | None, peer: str = "192.0.2.7") -> str:
        try:
            locked.admit(peer, token)
        except ProtocolError as error:
            return error.code
        return ""

    assert [said(None) for _ in range(20)] == 20 * ["token"]  # a page that asks is no guesser
    assert said("correct horse") == ""
    assert [said(f"guess {n}") for n in range(6)] == 5 * ["token"] + ["rate"]
    assert said("correct horse") == "rate"
    assert said("correct horse", "192.0.2.8") == ""
    clock.advance(5.1)
    assert said("correct horse") == ""
    assert said("guess") == "token"
    assert said("guess") == "rate"


def test_whoever_has_a_whole_network_is_one_all_the_same() -> None:
    limit = RateLimit(2, 0.1, HandClock())
    assert limit.take("2001:db8:1:2::1") == limit.take("2001:db8:1:2:ffff::9") == 0
    assert limit.take("2001:db8:1:2::3") > 0
    assert limit.take("2001:db8:1:3::1") == limit.take("192.0.2.1") == limit.take("192.0.2.2") == 0


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    locked = door(token="correct horse")

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    locked.knows("x")
    locked.knows("x" * 500)
    assert compared == [(32, 32), (32, 32)]


def test_the_token_is_in_no_representation() -> None:
    config = ServerConfig(token="correct horse", ice_servers=({"secret": "hidden thing"},))
    assert "horse" not in repr(config)
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"host": "localhost:8765"}, True),
        ({"host": "localhost:8765", "origin": "http://localhost:8765"}, True),
        ({"host": "127.0.0.1:8765", "origin": "http://127.0.0.1:8765"}, True),
        ({"host": "[::1]:8765", "origin": "http://[::1]:8765"}, True),
        ({"host": "localhost:8765", "origin": "http://localhost:8766"}, False),
        ({"host": "localhost:8765", "origin": "https://localhost:8765"}, False),
        ({"host": "localhost:8765", "origin": "http://localhost:8765.evil.org"}, False),
        ({"host": "localhost:8765", "origin": "null"}, False),
        ({"host": "localhost:8765", "origin": ""}, False),
        # a name of somebody else's that was pointed at this machine
        ({"host": "evil.org:8765", "origin": "http://evil.org:8765"}, False),
        ({"host": "evil.org", "origin": "https://friend.org"}, True),
        ({"host": "localhost:8765", "origin": "https://friend.org.evil.org"}, False),
    ],
)
def test_origins_of_a_local_server(headers: dict[str, str], good: bool) -> None:
    local = door(origins=("https://friend.org",), token="correct horse")
    assert local.origin_allowed(headers, secure=False) is good


def test_a_public_server_knows_its_origin_by_the_name_it_was_called() -> None:
    public = door(host="0.0.0.0", token="correct horse")
    headers = {"host": "avatar.example:8443", "origin": "https://avatar.example:8443"}
    assert public.origin_allowed(headers, secure=True)
    assert not public.origin_allowed(headers, secure=False)
    assert not public.origin_allowed({**headers, "origin": "https://avatar.example"}, secure=True)


@pytest.mark.parametrize(
    "host", ["", "evil.org", "localhost.evil.org", "127.0.0.1.evil.org", "[", "a:b:c"]
)
def test_strange_hosts(host: str) -> None:
    assert not door().host_allowed({"host": host})


def test_a_bucket_refills() -> None:
    bucket = Bucket(2, 0.5, 0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == pytest.approx(2.0)
    assert bucket.take(1.0) == pytest.approx(1.0)
    assert bucket.take(2.0) == 0.0


def test_rates_are_kept_by_address_and_do_not_grow_without_end() -> None:
    limit = RateLimit(1, 1, HandClock())
    assert limit.take("a") == 0
    assert limit.take("a") > 0
    assert limit.take("b") == 0
    for number in range(2 * MOST_PEERS):
        limit.take(str(number))
    assert len(limit._buckets) == MOST_PEERS


def test_pictures_have_addresses_that_cannot_be_guessed() -> None:
    one, other = door(), door()
    key = one.picture_key("me")
    assert one.opens_picture("me", key)
    assert not one.opens_picture("you", key)
    assert not other.opens_picture("me", key)
    assert not one.opens_picture("me", "é")


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "short"},
        {"origins": ("example.org",)},
        {"origins": ("https://example.org/page",)},
        {"max_sessions": 0},
        {"side_px": 333},
        {"fps": float("nan")},
        {"park_s": 1e9},
    ],
)
def test_settings_out_of_range(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        ServerConfig(**wrong)
