"""Bugs in the library below its workers."""

from __future__ import annotations

from tools.mutants.record import Chaos, Mutant, function, module

BUGS = (
    Mutant(
        name="marks are never reset",
        breaks="A retry, or a job that was committed late, is found when the worker is restarted.",
        edits=(module("claimer", "        self._marks.clear()\n", ""),),
        found_by="tests/unit/test_claimer.py::test_a_claim_that_is_not_full_looks_at_once_for_the_rest",
    ),
    Mutant(
        name="looks are put off for an hour",
        breaks="A retry waits an hour behind a busy queue.",
        edits=(module("claimer", "min(LOOK_PAUSE_MAX, pause)", "max(3600.0, pause)"),),
        found_by="tests/unit/test_claimer.py::"
        "test_looks_take_a_tenth_of_the_time_and_are_never_far",
    ),
    Mutant(
        name="no marks are kept",
        breaks="Under a long transaction the queue stands still.",
        edits=(
            module(
                "claimer",
                "            self._marks[job.tenant_id, job.queue, job.priority] = (job.run_at, job.job_id)\n",
                "            pass\n",
            ),
        ),
        found_by="tests/unit/test_claimer.py::test_a_job_behind_a_mark_is_found_by_the_next_look",
    ),
    Mutant(
        name="a claimer forgets the tenants behind a full claim",
        breaks="Quiet customers wait until the noisy one has nothing left.",
        edits=(
            module(
                "claimer", "self._tenants = self._tenants[tried:] + kept", "self._tenants = kept"
            ),
        ),
        found_by="tests/unit/test_claimer.py::test_a_noisy_tenant_does_not_starve_quiet_ones",
    ),
    Mutant(
        name="tenants do not take turns",
        breaks="A noisy customer starves the others.",
        edits=(
            module(
                "claimer",
                "self._tenants = self._tenants[tried:] + kept",
                "self._tenants = kept + self._tenants[tried:]",
            ),
        ),
        found_by="tests/unit/test_claimer.py::test_a_noisy_tenant_does_not_starve_quiet_ones",
    ),
    Mutant(
        name="queues do not take turns",
        breaks="The second queue of a worker starves.",
        edits=(module("claimer", "        self._queues.append(self._queues.pop(0))\n", ""),),
        found_by="tests/unit/test_claimer.py::test_queues_take_turns",
    ),
    Mutant(
        name="tenants beyond the first page are never looked for",
        breaks="With more than a thousand customers some are never served.",
        edits=(module("claimer", "page[-1] if len(page) == TENANT_PAGE else None", "None"),),
        found_by="tests/unit/test_claimer.py::test_a_tenant_behind_a_thousand_others_is_found",
    ),
    Mutant(
        name="a worker of one tenant wakes for all",
        breaks="Every enqueue of every customer wakes every customer's workers.",
        edits=(module("claimer", " or self._tenant_id not in {None, tenant_id}", ""),),
        found_by="tests/unit/test_claimer.py::"
        "test_tenant_isolated_a_claimer_of_one_tenant_never_gets_anothers_job",
    ),
    Mutant(
        name="a sleeper oversleeps what is scheduled",
        breaks="Retries and scheduled jobs come as late as the poll is long.",
        edits=(
            module(
                "claimer",
                "for s in (due, look) if s is not None",
                "for s in (look,) if s is not None",
            ),
        ),
        found_by="tests/unit/test_claimer.py::test_a_sleep_ends_when_the_next_scheduled_job_is_due",
    ),
    Mutant(
        name="a lost listener wakes nobody when it is back",
        breaks="What was notified meanwhile is found by the poll only.",
        edits=(module("wakeup", "                    self._wake_all()\n", ""),),
        found_by="tests/unit/test_wakeup.py::test_a_connection_that_comes_back_wakes_everybody",
    ),
    Mutant(
        name="a foreign notification ends the listener",
        breaks="Any role that can NOTIFY stops all wake-ups of a process.",
        edits=(
            module(
                "wakeup",
                "except (ValueError, TypeError, KeyError, AttributeError):",
                "except ZeroDivisionError:",
            ),
        ),
        found_by="tests/unit/test_wakeup.py::"
        "test_a_notification_that_is_not_the_engines_disturbs_nobody",
    ),
    Mutant(
        name="wait believes in notifications",
        breaks="A notification that was lost, or never asked for, makes `wait` wait for ever.",
        edits=(
            module(
                "engine",
                "left = pause if deadline is None else min(pause, deadline - time.monotonic())",
                "left = 3600.0 if deadline is None else deadline - time.monotonic()",
            ),
        ),
        found_by="tests/acceptance/test_wait.py::test_an_end_that_nobody_is_told_of_is_found",
    ),
    Mutant(
        name="enqueue ignores the caller's connection",
        breaks="A job exists although the transaction that made it was rolled back.",
        edits=(
            module(
                "engine",
                "        if connection is not None:\n            return await enqueue_all",
                "        if False:\n            return await enqueue_all",
            ),
        ),
        found_by="tests/acceptance/test_enqueue.py::"
        "test_a_job_exists_when_the_transaction_of_the_program_commits",
    ),
    Mutant(
        name="NaN is stored as null",
        breaks="A result that is not a number arrives as nothing, without a word.",
        edits=(module("_db", 'b"null" in text and _has_nan(value)', "False"),),
        found_by="tests/unit/test_json.py::"
        "test_what_json_cannot_hold_is_refused_with_field_rule_and_item",
    ),
    Mutant(
        name="quotes in texts are not escaped",
        breaks="A key with a quote breaks the call, or becomes two.",
        edits=(module("_db", """.replace('"', '\\\\"')""", ""),),
        found_by="tests/unit/test_array.py::test_texts_arrive",
    ),
    Mutant(
        name="flags pass as whole numbers",
        breaks="priority=True is stored as 1.",
        edits=(
            module(
                "_values",
                "not isinstance(value, int) or isinstance(value, bool) or",
                "not isinstance(value, int) or",
            ),
        ),
        found_by="tests/unit/test_arguments.py::test_whole_numbers_that_are_none_are_refused",
    ),
    Mutant(
        name="lost cancellations stay lost",
        breaks="On Python 3.11 a timeout that comes with an answer never ends its task.",
        edits=(
            module("_cancelling", "task.cancelling() > before:", "task.cancelling() > before + 1:"),
        ),
        found_by="tests/unit/test_cancelling.py::test_a_lost_cancellation_is_heeded",
    ),
    Mutant(
        name="a task is cancelled once",
        breaks="A worker whose driver swallows the cancellation never ends.",
        edits=(
            module(
                "_cancelling",
                "timeout=min(_AGAIN, left)",
                "timeout=left if within < math.inf else None",
            ),
        ),
        found_by="tests/unit/test_cancelling.py::test_a_task_is_cancelled_until_it_ends",
    ),
    Mutant(
        name="enqueue turns synchronous commit off",
        breaks="Jobs that were acknowledged are gone after a crash of the server.",
        edits=(
            function(
                "enqueue",
                "begin\n    -- Most calls:",
                "begin\n    perform set_config('synchronous_commit', 'off', true);\n    -- Most calls:",
            ),
        ),
        found_by="tests/faults/test_crash.py::test_no_lost_job_what_was_answered_survives_a_crash",
    ),
    Mutant(
        name="the engine's connections turn synchronous commit off",
        breaks="Results that were acknowledged are gone after a crash of the server.",
        edits=(
            module(
                "_pool",
                'kwargs={"autocommit": True,',
                'kwargs={"options": "-c synchronous_commit=off", "autocommit": True,',
            ),
        ),
        found_by="tests/faults/test_crash.py::test_no_lost_job_what_was_answered_survives_a_crash",
        chaos=Chaos(seed=1, seconds=30),
    ),
    Mutant(
        name="the embedded server does not wait for its commits",
        breaks="What it acknowledged is gone when it is killed.",
        edits=(
            module(
                "embedded/postgres",
                '    "log_checkpoints": "off",\n',
                '    "log_checkpoints": "off",\n    "synchronous_commit": "off",\n',
            ),
        ),
        found_by="tests/faults/test_crash.py::test_no_lost_job_what_was_answered_survives_a_crash",
    ),
)
