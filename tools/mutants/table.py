"""All bugs, by theme and by name."""

from __future__ import annotations

from tools.mutants.bugs import (
    asleep,
    claims,
    ends,
    keys,
    leases,
    library,
    operators,
    parents,
    rights,
    sweeps,
    trading,
    workers,
)
from tools.mutants.record import Mutant

THEMES: dict[str, tuple[Mutant, ...]] = {
    "Claims": claims.BUGS,
    "Leases": leases.BUGS,
    "Sweeps": sweeps.BUGS,
    "Ends": ends.BUGS,
    "Parents": parents.BUGS,
    "Keys": keys.BUGS,
    "Wake-ups": asleep.BUGS,
    "Operators": operators.BUGS,
    "Rights": rights.BUGS,
    "The library": library.BUGS,
    "Workers": workers.BUGS,
    "Trading": trading.BUGS,
}

BUGS = {mutant.name: mutant for theme in THEMES.values() for mutant in theme}
