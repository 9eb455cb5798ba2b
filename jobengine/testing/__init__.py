"""For the test suites of programs that use the engine: a clock, jobs run inline, and a machine.

`Clock` stops and moves the engine's time; `run_job` and `drain` run jobs in the test's own task
with the handlers of a `Worker`, through the calls that a worker makes. `SettleMachine`, which tests
a settle function of yours with Hypothesis, is in `jobengine.testing.settle` and needs the extra
`jobengine[testing]`. docs/testing.md shows them at work.
"""

from jobengine.testing.clock import Clock
from jobengine.testing.inline import drain, run_job

__all__ = ["Clock", "drain", "run_job"]
