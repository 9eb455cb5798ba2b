"""Bugs in what operators and hosts call."""

from __future__ import annotations

from tools.mutants.record import Mutant, function

BUGS = (
    Mutant(
        name="cancel looks once",
        breaks="A job that is just being claimed cannot be cancelled.",
        edits=(
            function("cancel", "for i in 1 .. 3 loop", "for i in 1 .. 1 loop"),
            function("cancel", "i = 3) c;", "i = 1) c;"),
        ),
        found_by="tests/races/test_cancel.py::"
        "test_cancel_looks_again_for_a_job_that_moved_behind_its_back",
    ),
    Mutant(
        name="cancel ends a job that runs",
        breaks="A job shows as cancelled while its handler still works.",
        edits=(
            function(
                "_cancel_round", "filter (where a.started_at is not null)", "filter (where false)"
            ),
            function("_cancel_round", "filter (where a.started_at is null)", ""),
        ),
        found_by="tests/sql/test_cancel.py::"
        "test_a_running_job_is_asked_to_stop_and_its_report_counts",
    ),
    Mutant(
        name="cancel replaces the first reason",
        breaks="The holder is told another reason than the one that was recorded.",
        edits=(function("_cancel_round", "coalesce(l.cancel_reason, p_reason)", "p_reason"),),
        found_by="tests/sql/test_cancel.py::test_a_second_request_to_stop_keeps_the_first_reason",
    ),
    Mutant(
        name="cancel reaches other tenants' waiting jobs",
        breaks="A customer can stop another customer's jobs.",
        edits=(
            function(
                "_cancel_round",
                "where q.job_id = i and (p_tenant_id is null or q.tenant_id = p_tenant_id)",
                "where q.job_id = i",
            ),
        ),
        found_by="tests/sql/test_cancel.py::"
        "test_tenant_isolated_ids_of_another_tenant_are_not_found",
    ),
    Mutant(
        name="cancel by queue takes any jobs first",
        breaks="A bounded cancel stops new jobs and leaves the oldest running.",
        edits=(function("_cancel_jobs", "         order by w.job_id\n", ""),),
        found_by="tests/sql/test_cancel.py::"
        "test_the_limit_takes_the_oldest_however_the_jobs_are_found",
    ),
    Mutant(
        name="cancel bears an old snapshot",
        breaks="In a serializable transaction a job in flight is said not to exist.",
        edits=(function("cancel", "    perform jobengine._read_committed();\n", ""),),
        found_by="tests/sql/test_cancel.py::test_isolation_above_read_committed_is_refused",
    ),
    Mutant(
        name="retry keeps the attempts",
        breaks="A job that is put back fails after one try.",
        edits=(
            function(
                "retry",
                "returning e.job_id, e.lease_epoch\n",
                "returning e.job_id, e.lease_epoch, e.attempt\n",
            ),
            function(
                "retry", "v_now), 0, g.lease_epoch, 0,", "v_now), g.attempt, g.lease_epoch, 0,"
            ),
        ),
        found_by="tests/sql/test_retry.py::"
        "test_a_failed_job_waits_again_with_all_its_attempts_and_its_epoch",
    ),
    Mutant(
        name="retry begins with epoch 0",
        breaks="A holder of before the retry is taken for the present one.",
        edits=(function("retry", "v_now), 0, g.lease_epoch, 0,", "v_now), 0, 0, 0,"),),
        found_by="tests/sql/test_retry.py::"
        "test_a_failed_job_waits_again_with_all_its_attempts_and_its_epoch",
    ),
    Mutant(
        name="retry takes unknown jobs",
        breaks="A payment that may have been made is made again.",
        edits=(
            function(
                "retry",
                "coalesce(e.status) in ('failed', 'cancelled', 'expired')",
                "coalesce(e.status) in ('failed', 'cancelled', 'expired', 'unknown')",
            ),
        ),
        found_by="tests/sql/test_retry.py::test_completed_and_unknown_jobs_are_a_conflict",
    ),
    Mutant(
        name="retry takes unsettled jobs",
        breaks="The end that the parents never heard of is lost to them.",
        edits=(
            function(
                "retry",
                "where e.job_id = any (p_job_ids) and e.settle_at is null\n",
                "where e.job_id = any (p_job_ids)\n",
            ),
        ),
        found_by="tests/sql/test_retry.py::test_an_unsettled_job_is_a_conflict",
    ),
    Mutant(
        name="retry reaches other tenants' jobs",
        breaks="A customer can run another customer's jobs again.",
        edits=(
            function(
                "retry",
                "          and (p_tenant_id is null or e.tenant_id = p_tenant_id)\n",
                "",
            ),
        ),
        found_by="tests/sql/test_retry.py::"
        "test_tenant_isolated_jobs_of_another_tenant_are_not_found",
    ),
    Mutant(
        name="prune removes unknown jobs",
        breaks="A payment that nobody has looked into disappears.",
        edits=(function("prune", " and e.status <> 'unknown'", ""),),
        found_by="tests/sql/test_prune.py::test_unknown_and_unsettled_jobs_stay_whatever_their_age",
    ),
    Mutant(
        name="prune removes unsettled jobs",
        breaks="The parents never learn of the end.",
        edits=(function("prune", " and e.settle_at is null as prunable", " as prunable"),),
        found_by="tests/sql/test_prune.py::test_unknown_and_unsettled_jobs_stay_whatever_their_age",
    ),
    Mutant(
        name="prune counts from the beginning of a job",
        breaks="A long job's result is gone the moment it is there.",
        edits=(function("prune", "e.finished_at < v_until and e.status", "e.status"),),
        found_by="tests/sql/test_prune.py::test_the_age_counts_from_the_end_not_from_the_beginning",
    ),
    Mutant(
        name="prune leaves the failed attempts",
        breaks="The database grows for ever.",
        edits=(
            function(
                "prune", "    delete from jobengine.failure f where f.job_id = any (v_gone);\n", ""
            ),
        ),
        found_by="tests/sql/test_prune.py::"
        "test_jobs_that_ended_long_ago_are_removed_with_all_they_left",
    ),
    Mutant(
        name="list shows other tenants' jobs",
        breaks="Customers see each other's inputs.",
        edits=(
            function(
                "_listed",
                "where j.job_id < v_before and (p_tenant_id is null or j.tenant_id = p_tenant_id)",
                "where j.job_id < v_before",
            ),
        ),
        found_by="tests/sql/test_list.py::test_filters_narrow_the_list_of_all",
    ),
    Mutant(
        name="get shows other tenants' jobs",
        breaks="Whoever learns an id sees the job.",
        edits=(
            function("get", "    where p_tenant_id is null or v.tenant_id = p_tenant_id\n", ""),
        ),
        found_by="tests/sql/test_get.py::test_tenant_isolated_jobs_of_another_tenant_are_not_shown",
    ),
    Mutant(
        name="stats count other tenants' held jobs",
        breaks="Customers see how busy the others are.",
        edits=(
            function(
                "stats",
                "where not l.lapsed and (p_tenant_id is null or l.tenant_id = p_tenant_id)",
                "where not l.lapsed",
            ),
        ),
        found_by="tests/sql/test_stats.py::test_tenant_isolated_stats_of_one_tenant",
    ),
)
