"""Bugs in who is woken when."""

from __future__ import annotations

from tools.mutants.record import Mutant, function

BUGS = (
    Mutant(
        name="enqueue wakes nobody",
        breaks="An idle worker takes seconds to begin.",
        edits=(
            function(
                "enqueue",
                "    perform jobengine._notify_ready("
                "array_agg(j.tenant_id), array_agg(j.queue), v_now) from unnest(v_jobs) j;\n",
                "",
            ),
            function(
                "_enqueue_one",
                "    perform jobengine._notify_ready(array[v_tenant_id], array[v_queue], p_now);\n",
                "",
            ),
        ),
        found_by="tests/sql/test_waiting.py::test_enqueue_wakes_who_sleeps_for_its_queue",
    ),
    Mutant(
        name="enqueue wakes those of every tenant",
        breaks="One customer's agents are told of another's jobs, and all wake for each.",
        edits=(
            function(
                "_notify_ready",
                "          and (w.tenant_id is null or w.tenant_id = n.tenant_id)\n",
                "",
            ),
        ),
        found_by="tests/sql/test_waiting.py::"
        "test_tenant_isolated_enqueue_wakes_who_sleeps_for_its_tenant_or_any",
    ),
    Mutant(
        name="every enqueue notifies",
        breaks="Commits are serialized: a third of the throughput is left.",
        edits=(
            function(
                "_notify_ready",
                "    where exists (\n        select from jobengine.waiting w\n",
                "    where n.queue is not null or exists (\n        select from jobengine.waiting w\n",
            ),
            function(
                "_notify_ready",
                "if not exists (select from jobengine.waiting) then",
                "if false then",
            ),
        ),
        found_by="tests/sql/test_waiting.py::test_nobody_sleeps_nobody_is_told",
    ),
    Mutant(
        name="a job that comes back wakes nobody",
        breaks="The jobs of a dead worker wait until the others happen to look.",
        edits=(function("_sweep_leases", "if returned > 0 then", "if returned < 0 then"),),
        found_by="tests/sql/test_waiting.py::test_a_job_that_comes_back_wakes_as_a_new_one_does",
    ),
    Mutant(
        name="the end of an awaited job wakes nobody",
        breaks="`wait` takes half a second longer than the job.",
        edits=(function("_end", "    if v_awaited is not null then", "    if false then"),),
        found_by="tests/sql/test_waiting.py::"
        "test_an_end_is_told_where_the_job_was_enqueued_to_be_awaited",
    ),
    Mutant(
        name="who slept too long is never forgotten",
        breaks="A worker that died asleep makes every enqueue notify, for ever.",
        edits=(
            function("sweep", "    delete from jobengine.waiting w where w.until < v_now;\n", ""),
        ),
        found_by="tests/sql/test_waiting.py::test_sweep_forgets_who_has_slept_too_long",
    ),
)
