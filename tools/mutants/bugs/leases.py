"""Bugs in what the holder of a lease may do."""

from __future__ import annotations

from tools.mutants.record import Chaos, Mutant, function

BUGS = (
    Mutant(
        name="finish is guarded by the state only",
        breaks="A worker that was paused too long ends the attempt of its successor.",
        edits=(
            function(
                "finish",
                "and l.lease_epoch = i.lease_epoch and not l.lapsed",
                "and not l.lapsed",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::test_no_stale_effect",
        chaos=Chaos(seed=1, seconds=30),
    ),
    Mutant(
        name="finish takes a lapsed lease",
        breaks="A job that expired before its start ends completed, unseen by its host.",
        edits=(
            function(
                "finish",
                "and l.lease_epoch = i.lease_epoch and not l.lapsed",
                "and l.lease_epoch = i.lease_epoch",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::test_no_stale_effect_of_a_lapsed_lease",
    ),
    Mutant(
        name="extend and start are not fenced",
        breaks="A worker that lost its lease keeps its successor's alive, or begins its work.",
        edits=(
            function(
                "_hold",
                "where w.job_id = i.job_id and w.lease_epoch = i.lease_epoch and not w.lapsed",
                "where w.job_id = i.job_id and not w.lapsed",
            ),
        ),
        found_by="tests/sql/test_start.py::test_no_stale_effect",
    ),
    Mutant(
        name="extend and start do not lock the lease",
        breaks="A lease that a sweep is taking back is answered `ok`: two run one job.",
        edits=(
            function(
                "_hold", "            limit 1\n            for update\n", "            limit 1\n"
            ),
        ),
        found_by="tests/races/test_lease.py::test_a_call_behind_a_sweep_is_stale",
    ),
    Mutant(
        name="release is not fenced",
        breaks="A worker that lost its lease takes the job out of its successor's hands.",
        edits=(
            function(
                "release",
                "and l.lease_epoch = i.lease_epoch and not l.lapsed\n",
                "and not l.lapsed\n",
            ),
        ),
        found_by="tests/sql/test_start.py::test_no_stale_effect",
    ),
    Mutant(
        name="release spends an attempt",
        breaks="A deployment that drains its workers a few times makes jobs fail.",
        edits=(function("release", "t.attempt - 1, t.lease_epoch,", "t.attempt, t.lease_epoch,"),),
        found_by="tests/sql/test_release.py::test_a_job_goes_back_at_once_with_no_attempt_spent",
    ),
    Mutant(
        name="release loses the epoch",
        breaks="The next holder has an epoch that was given before: the fence is open.",
        edits=(function("release", "t.attempt - 1, t.lease_epoch,", "t.attempt - 1, 0,"),),
        found_by="tests/sql/test_release.py::test_a_job_goes_back_at_once_with_no_attempt_spent",
    ),
    Mutant(
        name="release gives a begun at-most-once job back",
        breaks="A payment that may have been made is made again.",
        edits=(
            function(
                "release",
                "          and (l.started_at is null or l.delivery = 'at_least_once')\n",
                "",
            ),
        ),
        found_by="tests/sql/test_release.py::test_a_begun_at_most_once_job_is_a_conflict",
    ),
    Mutant(
        name="release forgets the leases lost before",
        breaks="A job that no agent can take goes round for ever.",
        edits=(
            function(
                "release", "t.lease_epoch, t.lost, t.expires_at", "t.lease_epoch, 0, t.expires_at"
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_a_release_between_losses_does_not_reset_them",
    ),
    Mutant(
        name="release forgets that the job was to stop",
        breaks="A cancelled job runs again because its worker was shut down.",
        edits=(
            function("release", "        where t.cancel_reason is null\n", ""),
            function(
                "release", "filter (where t.cancel_reason is not null)", "filter (where false)"
            ),
        ),
        found_by="tests/sql/test_release.py::test_a_job_that_was_asked_to_stop_ends_cancelled",
    ),
    Mutant(
        name="a second start is told `ok`",
        breaks="Two processes of one agent both begin the work.",
        edits=(
            function(
                "start",
                "when h.started_at is not null\n                     or row_number()",
                "when row_number()",
            ),
        ),
        found_by="tests/sql/test_start.py::test_a_second_start_is_a_duplicate_and_changes_nothing",
    ),
    Mutant(
        name="start leaves the lease as short as it was",
        breaks="Long waits before the start leave no time for the work.",
        edits=(
            function(
                "start",
                "lease_expires_at = v_now + make_interval(secs => (\n"
                "            select j.lease_seconds from jobengine.job j where j.job_id = l.job_id))\n",
                "lease_expires_at = l.lease_expires_at\n",
            ),
        ),
        found_by="tests/sql/test_start.py::test_a_start_takes_a_full_new_lease",
    ),
    Mutant(
        name="extend reads a clock of its own",
        breaks="Leases follow the transaction's age: a long transaction extends into the past.",
        edits=(
            function(
                "extend",
                "v_now timestamptz := jobengine._now();",
                "v_now timestamptz := now();",
            ),
        ),
        found_by="tests/sql/test_extend.py::test_a_lease_is_extended_by_the_jobs_own_seconds",
    ),
    Mutant(
        name="the clock stands still in a transaction",
        breaks="A caller's long transaction gives leases that have run out already.",
        edits=(function("_now", "select clock_timestamp()", "select now()"),),
        found_by="tests/sql/test_now.py::test_the_clock_moves_on_inside_a_transaction",
    ),
)
