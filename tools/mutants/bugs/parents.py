"""Bugs in how parents follow their jobs."""

from __future__ import annotations

from tools.mutants.record import Mutant, function

BUGS = (
    Mutant(
        name="an end is settled twice",
        breaks="Sums count a job twice.",
        edits=(
            function(
                "_settle",
                "execute v_function using p_jobs[v_first : v_last];",
                "execute v_function using p_jobs[v_first : v_last];\n"
                "            execute v_function using p_jobs[v_first : v_last];",
            ),
        ),
        found_by="tests/sql/test_settle.py::test_settled_equals_ended_whatever_ends_the_job",
    ),
    Mutant(
        name="the status settled before is lost",
        breaks="A job that was retried counts in both of its ends.",
        edits=(
            function(
                "_settle_ended",
                "e.status, e.settled_status, j.input",
                "e.status, null, j.input",
            ),
        ),
        found_by="tests/sql/test_settle.py::"
        "test_the_resolution_of_an_unknown_job_knows_what_was_settled_before",
    ),
    Mutant(
        name="parents are not told that a job waits again",
        breaks="A folder shows as failed while its job runs.",
        edits=(
            function(
                "retry",
                "array(select m from unnest(v_may) m where m <> all (v_keyless) order by m));",
                "array(select m from unnest(v_may) m where false));",
            ),
        ),
        found_by="tests/sql/test_retry.py::test_the_parents_hear_first_that_a_job_waits_again",
    ),
    Mutant(
        name="a settle that fails takes the result with it",
        breaks="A bug in the host's function makes finished work run again.",
        edits=(
            function(
                "_settle", "exception when others then", "exception when sqlstate 'JE010' then"
            ),
        ),
        found_by="tests/sql/test_settle_errors.py::"
        "test_the_result_is_recorded_although_the_settle_failed",
    ),
    Mutant(
        name="a batch is not split around its poison",
        breaks="One bad job keeps a thousand good ones from their parents.",
        edits=(function("_settle", "v_splits < 16", "v_splits < 0"),),
        found_by="tests/sql/test_settle_errors.py::"
        "test_a_data_error_splits_the_batch_until_the_poison_stands_alone",
    ),
    Mutant(
        name="a batch is split without end",
        breaks="A settle function that always fails is called thousands of times per batch.",
        edits=(function("_settle", "v_splits < 16", "v_splits < 1000000"),),
        found_by="tests/sql/test_settle_errors.py::test_a_batch_is_split_sixteen_times_at_most",
    ),
    Mutant(
        name="a locked parent splits the batch",
        breaks="A locked parent costs two seconds per part instead of two per batch.",
        edits=(
            function(
                "_settle", "sqlstate <> '55P03' and left(sqlstate, 2) not in ('40', '42') and", ""
            ),
        ),
        found_by="tests/sql/test_settle_errors.py::"
        "test_a_lock_serialization_or_right_error_defers_the_batch_whole",
    ),
    Mutant(
        name="a failed settle is not tried again",
        breaks="A parent that was locked once is behind for ever.",
        edits=(
            function(
                "_end",
                "case when u.retry then p_now + jobengine._backoff(1, 1, 3600) end",
                "null::timestamptz",
            ),
        ),
        found_by="tests/sql/test_settle_errors.py::test_sweep_settles_again_with_backoff",
    ),
    Mutant(
        name="an unsettled end counts as settled",
        breaks="A retried settle takes back what was never added.",
        edits=(
            function(
                "_end",
                "case when u.job_id is null and e.job_type = any (v_types) then e.status end,",
                "case when e.job_type = any (v_types) then e.status end,",
            ),
        ),
        found_by="tests/sql/test_settle_errors.py::"
        "test_the_result_is_recorded_although_the_settle_failed",
    ),
    Mutant(
        name="a parent that is gone is tried for ever",
        breaks="Jobs of deleted parents can never be pruned.",
        edits=(
            function(
                "_settle",
                "                            not v_gone)",
                "                            true)",
            ),
        ),
        found_by="tests/sql/test_settle_errors.py::test_parent_gone_is_kept_and_not_tried_again",
    ),
    Mutant(
        name="a settle function may run as its caller",
        breaks="Under row-level security the parents silently stay as they were.",
        edits=(
            function(
                "_check_settle",
                "        case when not v_function.prosecdef then"
                " format('alter function %s security definer;', v_name) end,\n",
                "",
            ),
        ),
        found_by="tests/sql/test_register_job_type.py::"
        "test_an_unsafe_settle_function_is_refused_and_the_hint_mends_it",
    ),
    Mutant(
        name="a settle function may be anybody's",
        breaks="Whoever can connect can change the parents by hand.",
        edits=(
            function(
                "_check_settle",
                "where a.grantee = 0) then",
                "where false) then",
            ),
        ),
        found_by="tests/sql/test_register_job_type.py::"
        "test_an_unsafe_settle_function_is_refused_and_the_hint_mends_it",
    ),
)
