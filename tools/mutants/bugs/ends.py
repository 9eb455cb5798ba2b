"""Bugs in how jobs end, or wait again."""

from __future__ import annotations

from tools.mutants.record import Mutant, function, structure

BUGS = (
    Mutant(
        name="finish ignores max_attempts",
        breaks="A job that fails is tried for ever.",
        edits=(
            function(
                "finish", "                when l.attempt >= l.max_attempts then 'failed'\n", ""
            ),
        ),
        found_by="tests/sql/test_finish.py::test_the_last_of_max_attempts_fails_for_good",
    ),
    Mutant(
        name="a snooze spends an attempt",
        breaks="A job that waits for something fails because it waited.",
        edits=(
            function(
                "finish",
                "case when j.outcome = 'snooze' then j.attempt - 1 else j.attempt end",
                "j.attempt",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_snoozes_never_use_attempts_up",
    ),
    Mutant(
        name="a failed attempt gives its epoch back",
        breaks="The next holder has an epoch that was given before: the fence is open.",
        edits=(
            function(
                "finish",
                "else j.attempt end, j.lease_epoch,\n",
                "else j.attempt end, j.lease_epoch - 1,\n",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::test_no_stale_effect_after_a_retried_failure",
    ),
    Mutant(
        name="a rejected job is tried again",
        breaks="What the handler knows to be hopeless is done five times.",
        edits=(
            function("finish", "                when i.outcome = 'rejected' then 'failed'\n", ""),
        ),
        found_by="tests/sql/test_finish.py::test_an_outcome_leads_to_its_status",
    ),
    Mutant(
        name="a begun at-most-once job that failed is tried again",
        breaks="A payment that was refused half-way is sent again.",
        edits=(
            function(
                "finish",
                "                when l.started_at is not null and l.delivery = 'at_most_once'"
                " then i.outcome    -- failed or unknown\n",
                "",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_an_outcome_leads_to_its_status",
    ),
    Mutant(
        name="a job that was to stop is tried again",
        breaks="A cancelled job comes back when its handler raises.",
        edits=(
            function(
                "finish",
                "                when l.cancel_reason is not null then 'cancelled'\n                else",
                "                else",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_an_outcome_leads_to_its_status",
    ),
    Mutant(
        name="the holder's delay is ignored",
        breaks="A handler that asks for an hour is called again at once.",
        edits=(
            function(
                "finish",
                "                            when j.delay is not null then make_interval(secs => j.delay)\n",
                "",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_a_delay_given_is_exact",
    ),
    Mutant(
        name="a failed attempt loses its message",
        breaks="Nobody can see why the first four tries failed.",
        edits=(
            function(
                "finish",
                "j.agent_id, j.error_code, j.error_message, v_now",
                "j.agent_id, j.error_code, null, v_now",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_every_failed_attempt_is_kept",
    ),
    Mutant(
        name="the end loses its output",
        breaks="Results are gone.",
        edits=(
            function(
                "_end",
                "select e.job_id, e.tenant_id, e.status, e.output, e.error_code,",
                "select e.job_id, e.tenant_id, e.status, null, e.error_code,",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_an_end_records_the_whole_report",
    ),
    Mutant(
        name="a repeated finish is a conflict",
        breaks="An agent whose answer was lost believes that its work was not recorded.",
        edits=(
            function(
                "_finish_verdict",
                "if v_ended.lease_epoch = p_lease_epoch and v_ended.status = v_said then\n"
                "        verdict := 'duplicate';",
                "if v_ended.lease_epoch = p_lease_epoch and v_ended.status = v_said then\n"
                "        verdict := 'conflict';",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::"
        "test_a_repeat_of_an_end_is_a_duplicate_another_outcome_a_conflict",
    ),
    Mutant(
        name="a repeated finish is `ok` once more",
        breaks="Who counts `ok` counts the same end twice.",
        edits=(
            function(
                "_finish_verdict",
                "if v_ended.lease_epoch = p_lease_epoch and v_ended.status = v_said then\n"
                "        verdict := 'duplicate';",
                "if v_ended.lease_epoch = p_lease_epoch and v_ended.status = v_said then\n"
                "        verdict := 'ok';",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::"
        "test_a_repeat_of_an_end_is_a_duplicate_another_outcome_a_conflict",
    ),
    Mutant(
        name="a sweep's failure counts as the holder's word",
        breaks="A holder that is too late is told that its failure was recorded.",
        edits=(function("_finish_verdict", " and f.reported_by = 'holder')", ")"),),
        found_by="tests/sql/test_finish_repeats.py::test_no_stale_effect",
    ),
    Mutant(
        name="a late finish is refused",
        breaks="A payment that was made stays unknown although its agent says so.",
        edits=(
            function(
                "_finish_late",
                "and e.lease_epoch = u.lease_epoch and e.status = 'unknown'",
                "and false",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::"
        "test_an_unknown_job_is_resolved_by_its_newest_lease_however_late",
    ),
    Mutant(
        name="a late finish changes what has ended",
        breaks="A completed job becomes failed because a report came twice, differently.",
        edits=(
            function(
                "_finish_late",
                "and e.lease_epoch = u.lease_epoch and e.status = 'unknown'",
                "and e.lease_epoch = u.lease_epoch",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::"
        "test_a_repeat_of_an_end_is_a_duplicate_another_outcome_a_conflict",
    ),
    Mutant(
        name="a late finish is not fenced",
        breaks="An old holder says what became of a later attempt.",
        edits=(
            function(
                "_finish_late",
                "and e.lease_epoch = u.lease_epoch and e.status = 'unknown'",
                "and e.status = 'unknown'",
            ),
        ),
        found_by="tests/sql/test_finish_repeats.py::"
        "test_no_stale_effect_of_an_older_lease_on_an_unknown_job",
    ),
    Mutant(
        name="finish locks in the order of its batch",
        breaks="Two workers' batches deadlock, and one is reported twice.",
        edits=(
            function(
                "finish",
                "                as u (job_id, lease_epoch, outcome, output, error_code, error_message, delay, item)\n"
                "            order by u.job_id, u.item\n",
                "                as u (job_id, lease_epoch, outcome, output, error_code, error_message, delay, item)\n",
            ),
        ),
        found_by="tests/races/test_locks.py::"
        "test_batches_of_leases_in_opposite_order_do_not_deadlock",
    ),
    Mutant(
        name="unknown jobs are locked after the parents",
        breaks="A late report and a batch that settles the same parent deadlock.",
        edits=(
            function(
                "finish", "        perform jobengine._lock_unknown(p_job_ids);\n", "        null;\n"
            ),
        ),
        found_by="tests/races/test_locks.py::"
        "test_a_batch_of_held_and_unknown_jobs_locks_the_ended_rows_before_the_parents",
    ),
    Mutant(
        name="a second end is passed over in silence",
        breaks="A bug that ends a job twice settles its parents twice, and nobody is told.",
        edits=(
            function(
                "_end",
                "    left join unnest(v_unsettled) u on u.job_id = e.job_id;\n",
                "    left join unnest(v_unsettled) u on u.job_id = e.job_id\n"
                "    on conflict (job_id) do nothing;\n",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_a_second_end_is_impossible",
    ),
    Mutant(
        name="ended has no primary key",
        breaks="A job can end twice, with two results.",
        edits=(
            structure(
                "create table jobengine.ended (\n    job_id         uuid primary key,",
                "create table jobengine.ended (\n    job_id         uuid not null,",
            ),
        ),
        found_by="tests/sql/test_finish.py::test_a_second_end_is_impossible",
    ),
)
