"""The table of mutants, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tools.mutants.record import Mutant
from tools.mutants.trial import Outcome

INTRODUCTION = """\
# Planted bugs

Written by `python -m tools.mutants --docs` from `tools/mutants/bugs/*.py`: change those.

A test that cannot fail proves nothing. So every bug below is planted, one at a time, in a copy of
the checkout, and the test beside it has to fail there; in a copy without a bug it has to pass.

```
python3 dev.py exec nox -s mutants                     # all of them
python3 dev.py exec nox -s mutants -- --only "NAME"    # this one
python3 dev.py exec nox -s mutants -- --chaos          # those marked *chaos*, by the chaos runner
```

The exit code is 1 if one survives. A mutant that does not install, or makes a call fail because of
a name that does not exist, is no bug that a test could be praised for finding: it counts as
`broken`, and fails the session too. `tests/unit/test_mutants.py` sees that every mutant still has
its place in the code and that its test exists. A bug that no test finds is a gap of the suite:
write the test, at the lowest layer that shows it, then add both here.
"""


def documented(themes: Mapping[str, Iterable[Mutant]]) -> str:
    """Return the text of docs/mutants.md."""
    return INTRODUCTION + "".join(
        f"\n## {theme}\n\n" + _table(("bug", "what a user would suffer", "found by"), _rows(bugs))
        for theme, bugs in themes.items()
    )


def _rows(bugs: Iterable[Mutant]) -> Iterator[tuple[str, ...]]:
    for bug in bugs:
        yield bug.name, bug.breaks, f"`{bug.found_by}`" + (", *chaos*" if bug.chaos else "")


def as_markdown(outcomes: Mapping[str, Outcome]) -> str:
    """Return the table of a run."""
    return _table(
        ("bug", "verdict", "by", "says", "s"),
        (
            (name, it.verdict, it.by, f"`{it.says}`".replace("|", "\\|"), f"{it.seconds:.1f}")
            for name, it in outcomes.items()
        ),
    )


def as_json(outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Return a run as plain values."""
    return [
        {"bug": name, "verdict": it.verdict, "by": it.by, "says": it.says, "seconds": it.seconds}
        for name, it in outcomes.items()
    ]


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
