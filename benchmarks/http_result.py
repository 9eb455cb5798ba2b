"""What a job costs over HTTP, claim and result, against one `SELECT 1` per request."""

from __future__ import annotations

from benchmarks.http_world import (
    COLUMNS,
    CONNECTIONS,
    FLOOR,
    World,
    claim_and,
    ratio,
    reports,
    rounds,
)
from benchmarks.report import Result, Sample
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    f"How many requests of {CONNECTIONS} agents on kept connections are answered while they do "
    "jobs, one each? One `python -m api serve`; the jobs wait already, and every result is kept. "
    "*results* only reports jobs that were claimed before. *claim, result* does what an agent "
    "without `ack=1` does: the service begins the job before it answers. *claim, start, result* "
    f"begins it by a request of its own. *{FLOOR}* is the yardstick: a bare Starlette endpoint "
    "with one `SELECT 1`, by the same server with the same options and the same pool."
)
RESULTS, TWO, THREE = "results", "claim, result", "claim, start, result"
HELD = 8_000  # the service remembers 10,000 leases; an agent holds one or a few


def run(lab: Lab) -> Result:
    """Measure every case once per run, in turn."""
    cases = {FLOOR: World.measure_floor, RESULTS: _results, TWO: _two, THREE: _three}
    samples = rounds(lab, "http_result", cases)
    ratios = [
        ratio(samples, RESULTS),
        ratio(samples, TWO, floor=0.6, aim=1.2),
        ratio(samples, THREE),
    ]
    return Result("http_result", QUESTION, COLUMNS, samples, ratios)


def _results(running: World, seconds: float) -> Sample:
    held = running.claimed(min(HELD, running.jobs(seconds)))
    scripts = [reports(line, jobs) for line, jobs in zip(running.lines, held, strict=True)]
    return running.measure(scripts, seconds)


def _two(running: World, seconds: float) -> Sample:
    running.prepare(running.jobs(seconds / 2))
    scripts = [claim_and(line, "result", ack=False) for line in running.lines]
    return running.measure(scripts, seconds)


def _three(running: World, seconds: float) -> Sample:
    running.prepare(running.jobs(seconds / 3))
    scripts = [claim_and(line, "start", "result", ack=True) for line in running.lines]
    return running.measure(scripts, seconds)


SCENARIO = Scenario("http_result", QUESTION, run)
