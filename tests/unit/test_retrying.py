from __future__ import annotations

from itertools import islice

import pytest

from jobengine._retrying import backoffs


def test_pauses_double_up_to_the_longest_within_a_fifth() -> None:
    pauses = list(islice(backoffs(1.0, 10.0), 7))
    assert pauses == [pytest.approx(middle, rel=0.2 + 1e-9) for middle in (1, 2, 4, 8, 10, 10, 10)]
