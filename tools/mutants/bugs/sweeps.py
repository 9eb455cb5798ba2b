"""Bugs in what is taken back from those who are silent."""

from __future__ import annotations

from tools.mutants.record import Mutant, function

BUGS = (
    Mutant(
        name="sweep comes a second early",
        breaks="A job is run twice at the same time while its holder is well.",
        edits=(
            function(
                "_sweep_leases",
                "where l.lease_expires_at <= p_now\n",
                "where l.lease_expires_at <= p_now + interval '1 second'\n",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_a_lease_runs_out_at_its_end_not_before",
    ),
    Mutant(
        name="sweeps do not keep each other out",
        breaks="Every worker sweeps at once, and they all do the same work.",
        edits=(
            function(
                "sweep",
                "if not pg_try_advisory_xact_lock(hashtextextended('jobengine/sweep', 0)) then",
                "if false then",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_one_sweep_at_a_time_another_answers_zeros_at_once",
    ),
    Mutant(
        name="sweep waits for leases that others hold",
        breaks="One slow transaction stops every rescue.",
        edits=(
            function("_sweep_leases", "        for update skip locked\n", "        for update\n"),
        ),
        found_by="tests/sql/test_sweep.py::test_leases_and_jobs_that_others_hold_are_skipped",
    ),
    Mutant(
        name="sweep loses what it takes back",
        breaks="Jobs of crashed workers are gone.",
        edits=(
            function(
                "_sweep_leases",
                "        where j.status = 'pending'\n    )\n",
                "        where false\n    )\n",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_a_lease_runs_out_at_its_end_not_before",
    ),
    Mutant(
        name="sweep gives the epoch back",
        breaks="The silent holder and its successor have the same epoch: the fence is open.",
        edits=(
            function(
                "_sweep_leases",
                "else j.attempt end, j.lease_epoch,\n",
                "else j.attempt end, j.lease_epoch - 1,\n",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::test_no_stale_effect",
    ),
    Mutant(
        name="lost leases have no bound",
        breaks="A job that kills every agent before its start kills them for ever.",
        edits=(
            function(
                "_sweep_leases",
                "case when t.lost + 1 >= 20 then 'failed' else 'pending' end",
                "'pending'",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_twenty_losses_in_a_row_are_undeliverable",
    ),
    Mutant(
        name="sweep ignores max_attempts",
        breaks="A job that kills its worker kills workers for ever.",
        edits=(
            function(
                "_sweep_leases",
                "            when t.attempt >= t.max_attempts then 'failed'\n",
                "",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_after_the_last_attempt_the_job_has_failed",
    ),
    Mutant(
        name="a begun at-most-once job runs again",
        breaks="A payment is made twice because its agent lost the connection.",
        edits=(
            function(
                "_sweep_leases",
                "            when t.delivery = 'at_most_once' then 'unknown'\n",
                "",
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_a_begun_at_most_once_job_becomes_unknown",
    ),
    Mutant(
        name="sweep ignores that a job was to stop",
        breaks="A cancelled job runs again because its worker died.",
        edits=(
            function(
                "_sweep_leases",
                "            when t.cancel_reason is not null then 'cancelled'\n            else",
                "            else",
            ),
        ),
        found_by="tests/sql/test_sweep.py::"
        "test_a_job_that_was_asked_to_stop_ends_cancelled_instead_of_waiting",
    ),
    Mutant(
        name="a lease lost before its start spends an attempt",
        breaks="Jobs fail that nobody has ever tried.",
        edits=(
            function(
                "_sweep_leases",
                "case when j.started_at is null then j.attempt - 1 else j.attempt end",
                "j.attempt",
            ),
        ),
        found_by="tests/sql/test_sweep.py::"
        "test_a_job_that_was_not_begun_is_back_at_once_with_no_attempt_spent",
    ),
    Mutant(
        name="a rescued job does not wait",
        breaks="A job that kills workers kills them as fast as they start.",
        edits=(
            function(
                "_sweep_leases",
                "else p_now + jobengine._backoff(j.attempt, t.backoff_seconds, t.backoff_max_seconds) end",
                "else p_now end",
            ),
        ),
        found_by="tests/sql/test_sweep.py::"
        "test_a_begun_job_waits_for_the_backoff_with_its_attempt_spent",
    ),
    Mutant(
        name="a lost attempt leaves no trace",
        breaks="An operator cannot see that a job has killed its workers.",
        edits=(
            function(
                "_sweep_leases",
                "        where j.started_at is not null or j.status = 'failed'\n",
                "        where false\n",
            ),
        ),
        found_by="tests/sql/test_sweep.py::"
        "test_a_begun_job_waits_for_the_backoff_with_its_attempt_spent",
    ),
    Mutant(
        name="waiting jobs never expire",
        breaks="Jobs of a queue without workers stay for ever, and keep their keys.",
        edits=(function("_sweep_ready", "where w.expires_at <= p_now\n", "where false\n"),),
        found_by="tests/sql/test_sweep.py::test_waiting_jobs_expire",
    ),
    Mutant(
        name="backoff has no bound",
        breaks="The twentieth try is twelve days away.",
        edits=(
            function(
                "_backoff", "least(p_max_seconds, p_base_seconds", "greatest(0, p_base_seconds"
            ),
        ),
        found_by="tests/sql/test_sweep.py::test_backoff_doubles_up_to_its_maximum_within_a_fifth",
    ),
    Mutant(
        name="backoff does not grow",
        breaks="A service that is down is hit at the same pace until the attempts are gone.",
        edits=(function("_backoff", "p_base_seconds * 2 ^ least(", "p_base_seconds * 1 ^ least("),),
        found_by="tests/sql/test_sweep.py::test_backoff_doubles_up_to_its_maximum_within_a_fifth",
    ),
)
