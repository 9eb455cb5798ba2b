"""Bugs in how jobs are handed out."""

from __future__ import annotations

from tools.mutants.record import Mutant, function

BUGS = (
    Mutant(
        name="claims wait for each other's rows",
        breaks="Workers take turns: one that is slow to commit halts all.",
        edits=(function("_take", "                for update skip locked\n", ""),),
        found_by="tests/sql/test_claim.py::test_a_row_that_another_session_holds_is_skipped",
    ),
    Mutant(
        name="the epoch is not written back",
        breaks="A worker that lost its lease is taken for its successor: two run one job.",
        edits=(
            function(
                "_take",
                "l.expires_at, l.lease_epoch + 1, l.attempt + 1,",
                "l.expires_at, l.lease_epoch, l.attempt + 1,",
            ),
        ),
        found_by="tests/sql/test_claim.py::test_epoch_and_attempt_grow_with_every_lease",
    ),
    Mutant(
        name="a claim counts no attempt",
        breaks="A job that fails is tried for ever.",
        edits=(
            function(
                "_take",
                "l.expires_at, l.lease_epoch + 1, l.attempt + 1,",
                "l.expires_at, l.lease_epoch + 1, l.attempt,",
            ),
        ),
        found_by="tests/sql/test_claim.py::test_epoch_and_attempt_grow_with_every_lease",
    ),
    Mutant(
        name="a claim takes any tenant's jobs",
        breaks="One customer's agent gets another customer's jobs and inputs.",
        edits=(function("_take", "w.tenant_id = p_tenant_id and w.queue", "w.queue"),),
        found_by="tests/sql/test_claim.py::"
        "test_tenant_isolated_a_claim_takes_nothing_of_another_tenant",
    ),
    Mutant(
        name="priorities are upside down",
        breaks="Urgent jobs wait behind all others.",
        edits=(
            function("_take", "order by p.priority, q.place", "order by p.priority desc, q.place"),
        ),
        found_by="tests/sql/test_claim.py::"
        "test_the_order_is_priority_then_queue_as_given_then_run_at_then_id",
    ),
    Mutant(
        name="queues are served in no order",
        breaks="The queue that a worker names first may starve.",
        edits=(
            function("_take", "order by p.priority, q.place", "order by p.priority, md5(q.queue)"),
        ),
        found_by="tests/sql/test_claim.py::"
        "test_the_order_is_priority_then_queue_as_given_then_run_at_then_id",
    ),
    Mutant(
        name="the newest job comes first",
        breaks="Under load the oldest jobs never run.",
        edits=(
            function(
                "_take", "order by w.run_at, w.job_id", "order by w.run_at desc, w.job_id desc"
            ),
        ),
        found_by="tests/sql/test_claim.py::"
        "test_the_order_is_priority_then_queue_as_given_then_run_at_then_id",
    ),
    Mutant(
        name="run_at is ignored",
        breaks="Scheduled jobs and retries run at once.",
        edits=(function("_take", "and w.run_at <= p_now\n", "\n"),),
        found_by="tests/sql/test_claim.py::test_jobs_of_other_queues_and_times_stay",
    ),
    Mutant(
        name="an expired job is handed out",
        breaks="Work is done that nobody wants any more.",
        edits=(
            function(
                "_take", "coalesce(d.expires_at <= p_now, false) as lapses", "false as lapses"
            ),
        ),
        found_by="tests/sql/test_claim.py::TestExpiry::test_an_expired_job_lapses_on_the_way",
    ),
    Mutant(
        name="at-most-once jobs begin with their claim",
        breaks="A job whose answer was lost on the way counts as begun and ends unknown.",
        edits=(
            function(
                "_take",
                "or p_two_phase = 'at_most_once' and j.delivery = 'at_most_once' then null",
                "then null",
            ),
        ),
        found_by="tests/sql/test_claim.py::test_two_phase_says_which_jobs_still_need_start",
    ),
    Mutant(
        name="the request lock is left out",
        breaks="An agent that repeats a claim, its first one still under way, gets twice the jobs.",
        edits=(function("claim", "perform pg_advisory_xact_lock(k.key)", "perform k.key"),),
        found_by="tests/races/test_claim.py::"
        "test_a_repeated_request_waits_for_its_first_try_and_gets_the_same_leases",
    ),
    Mutant(
        name="the request locks are taken in any order",
        breaks="Two claims that repeat the same requests deadlock.",
        edits=(
            function(
                "claim",
                "where r.request_id is not null order by key) k",
                "where r.request_id is not null order by md5(r.request::text)) k",
            ),
            function("claim", "from (select distinct\n", "from (select\n"),
        ),
        found_by="tests/races/test_claim.py::"
        "test_claims_that_repeat_two_requests_in_opposite_order_do_not_deadlock",
    ),
    Mutant(
        name="a repeated request gives leases that ran out",
        breaks="An agent works on a job that somebody else is about to get.",
        edits=(
            function(
                "_retake", "and not l.lapsed and l.lease_expires_at > p_now", "and not l.lapsed"
            ),
        ),
        found_by="tests/sql/test_claim_requests.py::"
        "TestRepeats::test_after_the_run_out_a_repeat_is_a_fresh_claim",
    ),
    Mutant(
        name="a repeated request is anybody's",
        breaks="An agent that guesses a request id gets the jobs of another.",
        edits=(
            function(
                "_retake",
                "where w.agent_id = r.agent_id and w.request_id = r.request_id",
                "where w.request_id = r.request_id",
            ),
            function("claim", "r.tenant_id, r.agent_id, r.request_id", "r.tenant_id, r.request_id"),
        ),
        found_by="tests/sql/test_claim_requests.py::"
        "TestRepeats::test_another_agent_request_or_tenant_is_no_repeat",
    ),
    Mutant(
        name="many requests for one job each may take the same one",
        breaks="An agent gets no job although one waits, as another agent of its call got it.",
        edits=(
            function(
                "_take_each",
                "row_number() over (partition by l.ctid order by r.request) > 1 or l.expires_at",
                "l.expires_at",
            ),
        ),
        found_by="tests/sql/test_claim_requests.py::"
        "TestOneJobEach::test_requests_for_the_same_queue_get_different_jobs",
    ),
    Mutant(
        name="many requests for one job each are given what has expired",
        breaks="An order goes to the broker after its time.",
        edits=(function("_take_each", " or l.expires_at <= p_now as unsure", " as unsure"),),
        found_by="tests/sql/test_claim_requests.py::"
        "TestOneJobEach::test_a_job_that_lapses_leads_to_the_next_one",
    ),
    Mutant(
        name="twins in a call are strangers",
        breaks="A claim that was asked twice takes two jobs.",
        edits=(function("_first_apart", " or s.turn > 1 and s.request_id is not null", ""),),
        found_by="tests/sql/test_claim_requests.py::TestOneJobEach::test_twins_get_the_same_lease",
    ),
)
