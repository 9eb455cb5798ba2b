"""Bugs in keys and ids."""

from __future__ import annotations

from tools.mutants.record import Mutant, function, structure

BUGS = (
    Mutant(
        name="dedup keys are not unique",
        breaks="A request that is sent twice is done twice.",
        edits=(
            structure("create unique index job_dedup_key", "create index job_dedup_key"),
            function(
                "_enqueue_keyed",
                "            on conflict (tenant_id, dedup_key) where dedup_key is not null do nothing\n",
                "",
            ),
        ),
        found_by="tests/sql/test_enqueue_keys.py::test_the_second_job_of_a_key_is_a_duplicate",
    ),
    Mutant(
        name="dedup keys are shared by all tenants",
        breaks="One customer's key makes another customer's job vanish, and shows its id.",
        edits=(
            structure(
                "job_dedup_key on jobengine.job (tenant_id, dedup_key)",
                "job_dedup_key on jobengine.job (dedup_key)",
            ),
            function(
                "_enqueue_keyed",
                "on conflict (tenant_id, dedup_key) where",
                "on conflict (dedup_key) where",
            ),
            function(
                "_enqueue_keyed",
                "where w.tenant_id = n.tenant_id and w.dedup_key = n.dedup_key",
                "where w.dedup_key = n.dedup_key",
            ),
        ),
        found_by="tests/sql/test_enqueue_keys.py::test_keys_belong_to_a_tenant",
    ),
    Mutant(
        name="live keys are taken in the order of the call",
        breaks="Two calls with the same keys deadlock.",
        edits=(
            function(
                "_enqueue_keyed",
                "order by n.tenant_id, n.live_key, n.item",
                "order by n.item",
            ),
        ),
        found_by="tests/races/test_keys.py::"
        "test_two_enqueues_of_the_same_keys_in_opposite_order_do_not_deadlock",
    ),
    Mutant(
        name="dedup keys are taken in the order of the call",
        breaks="Two calls with the same keys deadlock.",
        edits=(
            function(
                "_enqueue_keyed",
                "order by n.tenant_id, n.dedup_key, n.item",
                "order by n.item",
            ),
        ),
        found_by="tests/races/test_keys.py::"
        "test_two_enqueues_of_the_same_keys_in_opposite_order_do_not_deadlock",
    ),
    Mutant(
        name="a key that comes free meanwhile is not taken",
        breaks="A program is told `busy` where it only had to wait.",
        edits=(
            function("_enqueue_keyed", "for v_round in 1 .. 20 loop", "for v_round in 1 .. 1 loop"),
        ),
        found_by="tests/races/test_keys.py::"
        "test_a_key_that_comes_free_while_the_call_is_under_way_is_taken",
    ),
    Mutant(
        name="an end keeps its live key",
        breaks="A job that is unique while it lives can never be put in again.",
        edits=(function("_end", "where e.live_key is not null))", "where false))"),),
        found_by="tests/sql/test_enqueue_keys.py::test_a_live_key_is_free_after_every_end",
    ),
    Mutant(
        name="a retried job does not take its key back",
        breaks="Two jobs live with one key.",
        edits=(
            function("retry", "v_keyless := jobengine._retry_keys(v_may);", "v_keyless := '{}';"),
        ),
        found_by="tests/sql/test_retry.py::test_the_live_key_is_taken_again",
    ),
    Mutant(
        name="ids of a call do not ascend",
        breaks="Jobs of one call run in another order than they were given.",
        edits=(function("_job_ids", "to_hex(1048576 + n)", "to_hex(1048576 + p_count - n)"),),
        found_by="tests/sql/test_job_ids.py::test_ids_of_one_call_ascend_in_the_order_given",
    ),
)
