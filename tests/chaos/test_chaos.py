"""Short chaos runs: two seeds that stay, one that nobody has seen, and pauses only."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.chaos import host
from tests.chaos.__main__ import main
from tests.chaos.crew import Crew
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import PROFILES, make
from tests.chaos.run import Outcome, run

SECONDS = 12.0
HEARS_EVERYBODY = ("finish", r"l\.lease_epoch = i\.lease_epoch and", "")


def judged(outcome: Outcome) -> None:
    made = outcome.report
    print(*made.lines(), *outcome.log, sep="\n")  # noqa: T201 - shown where it fails
    command = f"python -m tests.chaos --seed {made.seed} --seconds {made.seconds:g}"
    assert made.violations == [], f"{command} --profile {made.profile}; see {outcome.folder}"


@pytest.mark.parametrize("seed", [1, 2, None], ids=["seed 1", "seed 2", "a fresh seed"])
def test_every_invariant_holds_whatever_dies(seed: int | None) -> None:
    outcome = run(make(secrets.randbelow(10**6) if seed is None else seed, SECONDS))
    judged(outcome)
    # What was to be put to the test did happen.
    assert outcome.report.recoveries or not outcome.report.interruptions
    assert sum(outcome.report.faults.values()) >= 10
    assert outcome.report.operations.keys() >= {"enqueue", "claim", "start", "finish"}
    assert outcome.report.redeliveries


def test_no_stale_effect_of_holders_that_were_stopped_past_their_lease() -> None:
    outcome = run(make(1, 6.0, "zombie"))
    judged(outcome)
    assert outcome.report.faults["pause"]
    assert outcome.report.stale


def test_a_planted_bug_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Within some seeds: whether a holder wakes up at a bad moment is the machine's affair too."""
    report = tmp_path / "report.json"
    rest = ["--seconds", "5", "--profile", "zombie", "--json", str(report)]
    for seed in range(1, 9):
        if main(["--seed", str(seed), *rest, "--plant", *HEARS_EVERYBODY]) == 1:
            break
        capsys.readouterr()
    said = capsys.readouterr().out
    shutil.rmtree(said.partition("server's data, histories and schedule: ")[2].splitlines()[0])
    found = {line.partition(":")[0] for line in json.loads(report.read_text())["violations"]}
    assert "no_stale_effect" in found
    assert f"python -m tests.chaos --seed {seed} --seconds 5 --profile zombie" in said


def test_what_is_left_behind_is_named(db: psycopg.Connection[DictRow], database_url: str) -> None:
    assert host.leftovers(db) == []
    with psycopg.connect(database_url) as forgotten:
        forgotten.execute("select pg_advisory_xact_lock(1)")
        assert host.leftovers(db) == [
            "no_leftovers: 1 connections",
            "no_leftovers: 1 advisory locks",
            "no_leftovers: 1 transactions left open",
        ]


def test_an_actor_that_ends_by_itself_is_named_and_replaced(tmp_path: Path) -> None:
    crew = Crew("", tmp_path, seed=1)
    crew.hire_all({"nobody": 1})
    (actor,) = crew.actors
    try:
        assert actor.process
        assert actor.process.wait(60) == 1
        crew.look_after(crew.actors)
        assert crew.problems == ["no_lost_actor: nobody1-1 ended with 1: KeyError: 'nobody'"]
        assert actor.name == "nobody1-2"
    finally:
        crew.disband()


def test_a_seed_decides_the_plan() -> None:
    assert make(7, 60.0) == make(7, 60.0)
    assert make(7, 60.0) != make(8, 60.0)
    assert make(7, 60.0).faults == make(7, 120.0).faults[: len(make(7, 60.0).faults)]
    lost = [make(7, 1.0).loses("finish", number) for number in range(1, 5001)]
    assert lost == [make(7, 9.0).loses("finish", number) for number in range(1, 5001)]
    assert 25 <= sum(lost) <= 100


@pytest.mark.parametrize("profile", PROFILES)
def test_a_long_plan_has_every_fault_of_its_profile(profile: str) -> None:
    plan = make(1, 600.0, profile)
    assert {fault.kind for fault in plan.faults} == set(PROFILES[profile])
    assert all(0 <= fault.at < 600 for fault in plan.faults)
    assert all(hasattr(Nemesis, f"_{fault.kind}") for fault in plan.faults)
    assert not plan.loses("sweep", 1)
