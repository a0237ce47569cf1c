"""Messages of clients: exactly what docs/protocol.md says comes through, everything else is a mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lia_live_server.protocol import (
    _READERS,
    CLOSE_CODES,
    MESSAGE_BYTES,
    Bye,
    Calibrate,
    Choose,
    Join,
    Offer,
    Ping,
    ProtocolError,
    Settings,
    parse,
)

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"join"}', Join()),
        ('{"type":"join","token":"abc","resume":"x"}', Join("abc", "x")),
        ('{"type":"join","token":null}', Join()),
        ('{"type":"offer","sdp":"v=0"}', Offer("v=0")),
        ('{"type":"avatar","name":"Zoë"}', Choose("Zoë")),
        ('{"type":"settings","strength":2,"mode":"absolute"}', Settings(2.0, "absolute")),
        ('{"type":"settings","mirror":true,"smooth":0}', Settings(mirror=True, smooth=0.0)),
        ('{"type":"settings","edits":[1,-2.5]}', Settings(edits=(1.0, -2.5))),
        ('{"type":"calibrate"}', Calibrate()),
        ('{"type":"ping","t":12.5}', Ping(12.5)),
        ('{"type":"bye"}', Bye()),
    ],
)
def test_good_messages(text: str, message: object) -> None:
    assert parse(text) == message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"type":1}',
        '{"type":"jion"}',
        '{"type":["join"]}',
        '{"type":"join","admin":true}',
        '{"type":"join","token":5}',
        '{"type":"join","token":"' + "x" * 513 + '"}',
        '{"type":"offer"}',
        '{"type":"offer","sdp":null}',
        '{"type":"settings","strength":2.01}',
        '{"type":"settings","strength":true}',
        '{"type":"settings","strength":NaN}',
        '{"type":"settings","strength":1e999}',
        '{"type":"settings","strength":' + "9" * 400 + "}",
        '{"type":"settings","mode":"both"}',
        '{"type":"settings","mirror":1}',
        '{"type":"settings","edits":[101]}',
        '{"type":"settings","edits":["1"]}',
        '{"type":"settings","edits":{}}',
        '{"type":"ping"}',
        '{"type":"ping","t":"now"}',
        '{"type":"avatar","name":"\\ud800"}',
        "[" * 50_000,
    ],
)
def test_bad_messages(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert caught.value.code == "bad_message"
    assert caught.value.fatal


def test_a_message_has_a_largest_size() -> None:
    filler = "é" * (MESSAGE_BYTES // 2)
    with pytest.raises(ProtocolError) as caught:
        parse(json.dumps({"type": "offer", "sdp": filler}, ensure_ascii=False))
    assert caught.value.code == "too_big"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = ["token", "resume", "sdp", "name", "strength", "mode", "mirror", "smooth", "edits", "t"]


@given(
    st.fixed_dictionaries({"type": st.sampled_from(sorted(_READERS)) | JSON})
    .flatmap(
        lambda base: st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON).map(
            lambda more: {**more, **base}
        )
    )
    .map(json.dumps)
    | st.text()
)
def test_whatever_comes_is_a_message_or_a_mistake(text: str) -> None:
    try:
        parse(text)
    except ProtocolError as error:
        assert error.code in ("bad_message", "too_big")
        assert json.dumps(error.payload())


def test_the_document_names_every_type_and_code() -> None:
    named = set(re.findall(r"`([a-z_]+)`", DOCUMENT))
    assert set(_READERS) <= named
    for code, close in CLOSE_CODES.items():
        assert re.search(rf"`{code}` \| yes, {close}", DOCUMENT), code
