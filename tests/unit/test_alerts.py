"""An alert is read, whatever it is."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import alerts
from api.alerts import HIGHEST, read

NAMES = [*alerts.SYMBOL, *alerts.ACTION, *alerts.VOLUME, *alerts.STOP, *alerts.TARGET, *alerts.ID]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SAID = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), JSON, max_size=8)
BODIES = st.text() | SAID.map(json.dumps)


@given(BODIES)
def test_every_body_becomes_what_the_database_takes(body: str) -> None:
    alert = read(body)
    assert b"\\u0000" not in orjson.dumps(alert.payload).replace(b"\\\\", b"")
    assert alert.symbol is None or (len(alert.symbol) <= 32 and ":" not in alert.symbol)
    assert alert.action in {None, *alerts.ACTIONS.values()}
    for number in (alert.volume, alert.sl, alert.tp, alert.price):
        assert number is None or (-1 <= number <= HIGHEST and number == round(number, 8))
    assert alert.dedup_key.startswith(("id:", "body:"))
    assert len(alert.dedup_key) <= 205
    assert "\x00" not in alert.dedup_key


@given(BODIES)
def test_the_same_body_has_the_same_key(body: str) -> None:
    assert read(body) == read(body)


@pytest.mark.parametrize(
    "said, expected",
    [
        ("0.1", "0.1"),
        (" 0.10 ", "0.10"),
        (0.1, "0.1"),
        (1e-8, "1E-8"),
        (1e-9, "0"),
        (-1, "0"),
        ("all", "0"),
        (True, "0"),
        ("NaN", "0"),
        ("1e400", "0"),
        (100_000_000_000, "0"),
        ([1], "0"),
    ],
)
def test_a_volume_that_is_said_and_none_is_never_taken_for_unsaid(said: Any, expected: str) -> None:
    assert read(orjson.dumps({"volume": said}).decode()).volume == Decimal(expected)


@pytest.mark.parametrize("plot", ["NaN", "-Infinity", '"NaN"'])
def test_a_plot_without_a_value_spoils_no_alert(plot: str) -> None:
    alert = read(f'{{"symbol": "EURUSD", "action": "close", "sl": {plot}, "note": "NaN"}}')
    assert (alert.symbol, alert.action, alert.sl) == ("EURUSD", "close", Decimal(-1))
    assert alert.payload["note"] == "NaN"


@pytest.mark.parametrize("body", ["[" * 20_000 + "NaN", '{"a": NaN, "id": "\\ud800"}', "NaN"])
def test_what_is_no_json_for_other_reasons_is_kept_as_it_is(body: str) -> None:
    assert read(body).payload == {"_raw": body}


@pytest.mark.parametrize("said", [None, "", "{{strategy.order.contracts}}"])
def test_a_volume_that_is_not_said_is_none(said: Any) -> None:
    assert read(orjson.dumps({"volume": said}).decode()).volume is None


@pytest.mark.parametrize(
    "said, expected", [(0, None), (1.1, Decimal("1.1")), ("x", Decimal(-1)), (-2, Decimal(-1))]
)
def test_a_stop_that_is_none_is_never_dropped(said: Any, expected: Decimal | None) -> None:
    assert read(orjson.dumps({"sl": said}).decode()).sl == expected


@pytest.mark.parametrize(
    "said, expected",
    [
        ("EURUSD", "EURUSD"),
        ("OANDA:EURUSD", "EURUSD"),
        ("FX:EURUSD", "EURUSD"),
        (" BINANCE:BTCUSDT.P ", "BTCUSDT.P"),
        ("A:B:C", ""),
        ("two words", ""),
        ("x" * 33, ""),
        (5, ""),
        ("{{ticker}}", ""),
        ("", None),
        (None, None),
    ],
)
def test_a_symbol_loses_its_exchange(said: Any, expected: str | None) -> None:
    assert read(orjson.dumps({"symbol": said}).decode()).symbol == expected


@pytest.mark.parametrize(
    "said, expected",
    [
        ("BUY", "buy"),
        ("Exit", "close"),
        ("close-long", "close_long"),
        ("Close Short", "close_short"),
        ("hold", None),
        (1, None),
    ],
)
def test_an_action_has_many_names(said: Any, expected: str | None) -> None:
    assert read(orjson.dumps({"action": said}).decode()).action == expected


@pytest.mark.parametrize(
    "said, key",
    [
        ({"id": "a"}, "id:a"),
        ({"alert_id": 7}, "id:7"),
        ({"alertTimestamp": "t"}, "id:t"),
    ],
)
def test_an_id_is_the_key(said: Any, key: str) -> None:
    assert read(orjson.dumps(said).decode()).dedup_key == key


def test_an_id_that_was_not_filled_is_none() -> None:
    assert read('{"id": "{{strategy.order.id}}"}').dedup_key.startswith("body:")
