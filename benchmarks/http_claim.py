"""What a claim over HTTP costs, against an endpoint that only asks the database for a 1."""

from __future__ import annotations

from benchmarks.http_world import (
    COLUMNS,
    CONNECTIONS,
    FLOOR,
    World,
    claim_and,
    ratio,
    rounds,
)
from benchmarks.report import Result, Sample
from benchmarks.scenario import Lab, Scenario

QUESTION = (
    f"How many jobs are handed out over HTTP, one per request, to {CONNECTIONS} agents on kept "
    "connections? One `python -m api serve`; the jobs wait already. *to begin later* is "
    "`GET …/jobs/next?ack=1`; *begun* is `ack=0`, where the service begins the job before it "
    f"answers. *{FLOOR}* is the yardstick: a bare Starlette endpoint with one `SELECT 1`, by the "
    "same server with the same options and the same pool."
)
CLAIM, BEGUN = "claim, to begin later", "claim, begun"


def run(lab: Lab) -> Result:
    """Measure every case once per run, in turn."""
    samples = rounds(lab, "http_claim", {FLOOR: World.measure_floor, CLAIM: _claim, BEGUN: _begun})
    return Result(
        "http_claim",
        QUESTION,
        COLUMNS,
        samples,
        [ratio(samples, CLAIM), ratio(samples, BEGUN)],
    )


def _claim(running: World, seconds: float) -> Sample:
    running.prepare(running.jobs(seconds))
    return running.measure([claim_and(line, ack=True) for line in running.lines], seconds)


def _begun(running: World, seconds: float) -> Sample:
    running.prepare(running.jobs(seconds))
    return running.measure([claim_and(line, ack=False) for line in running.lines], seconds)


SCENARIO = Scenario("http_claim", QUESTION, run)
