"""Only a definitive refusal is called one."""

from __future__ import annotations

import pytest
from forex_agent import retcodes
from forex_agent.terminal import Rejected, Unknown

CODES = {
    "invalid_input",
    "invalid_stops",
    "market_closed",
    "no_money",
    "position_not_found",
    "rejected",
    "requote",
    "timeout",
    "trade_disabled",
    "unsupported_filling",
    "volume_out_of_range",
}


@pytest.mark.parametrize("number", [10008, 10011, 10012, 10023, 10028, 10031, 4242])
def test_what_leaves_the_outcome_open_is_unknown(number: int) -> None:
    error = retcodes.failure(number)
    assert isinstance(error, Unknown)
    assert error.retcode == number


@pytest.mark.parametrize(
    "number, code, requote",
    [
        (10004, "requote", True),
        (10020, "requote", True),
        (10021, "requote", True),
        (10014, "volume_out_of_range", False),
        (10016, "invalid_stops", False),
        (10018, "market_closed", False),
        (10019, "no_money", False),
        (10027, "trade_disabled", False),
        (10030, "unsupported_filling", False),
        (10036, "position_not_found", False),
    ],
)
def test_a_refusal_has_its_code(number: int, code: str, requote: bool) -> None:  # noqa: FBT001
    error = retcodes.failure(number, "words")
    assert isinstance(error, Rejected)
    assert (error.code, error.requote, error.retcode, str(error)) == (
        code,
        requote,
        number,
        "words",
    )


def test_the_table_knows_all_of_metatraders_numbers_and_only_our_codes() -> None:
    assert set(retcodes.RETCODES) == set(range(10004, 10047)) - {10005, 10037}
    assert {answer.code for answer in retcodes.RETCODES.values() if answer.code} == CODES
    done = {number for number, answer in retcodes.RETCODES.items() if answer.verdict == "done"}
    assert done == {10009, 10010}
