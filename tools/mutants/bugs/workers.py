"""Bugs in the worker."""

from __future__ import annotations

from tools.mutants.record import Mutant, module

BUGS = (
    Mutant(
        name="the worker forgets to extend",
        breaks="Every job that takes longer than its lease is run twice.",
        edits=(module("_book", "held.extend_at <= now and", "held.extend_at < 0 <= now and"),),
        found_by="tests/acceptance/test_worker_leases.py::"
        "test_no_double_claim_a_lease_is_kept_while_its_handler_runs",
    ),
    Mutant(
        name="the worker oversleeps short leases",
        breaks="A lease of less than a second runs out while its handler works.",
        edits=(module("_book", "            self._shorter.set()\n", ""),),
        found_by="tests/unit/test_book.py::test_a_lease_shorter_than_the_wait_ends_the_wait",
    ),
    Mutant(
        name="the worker reports after it lost the lease",
        breaks="Every lost lease adds a refused report to the traffic and to the log.",
        edits=(
            module(
                "_book",
                '"worker_stopped")\n        return None\n',
                '"worker_stopped")\n        return self._report("unknown", "worker_stopped")\n',
            ),
        ),
        found_by="tests/acceptance/test_worker_leases.py::"
        "test_no_stale_effect_a_handler_whose_lease_is_lost_is_cancelled_and_reports_nothing",
    ),
    Mutant(
        name="the worker ignores a lost lease",
        breaks="A handler goes on beside its successor.",
        edits=(module("worker", 'held.stop("lease_lost", answer.verdict)', "None"),),
        found_by="tests/acceptance/test_worker_leases.py::"
        "test_no_stale_effect_a_handler_whose_lease_is_lost_is_cancelled_and_reports_nothing",
    ),
    Mutant(
        name="a job that has come to its end is stopped",
        breaks="A drain that comes with a result turns it into `unknown`.",
        edits=(module("_book", "if self.reported or self.stopped:", "if self.stopped:"),),
        found_by="tests/unit/test_book.py::test_what_has_come_to_its_end_is_not_stopped",
    ),
    Mutant(
        name="an old lease takes the new one out of the book",
        breaks="A job that came back to the same worker is not extended.",
        edits=(
            module(
                "_book",
                "if self._held.get(held.key) is held:",
                "if held.key in self._held:",
            ),
        ),
        found_by="tests/unit/test_book.py::test_a_job_that_comes_back_replaces_its_lost_lease",
    ),
    Mutant(
        name="a drain gives begun at-most-once jobs back",
        breaks="A payment that was cut short is neither made nor unknown until its lease runs out.",
        edits=(
            module(
                "_book",
                'return not self.started or self.job.delivery == "at_least_once"',
                "return True",
            ),
        ),
        found_by="tests/acceptance/test_worker_drain.py::"
        "test_after_the_deadline_what_began_and_may_not_run_again_is_unknown",
    ),
    Mutant(
        name="a begun at-most-once job that is cancelled did nothing",
        breaks="An order that a thread still fills is shown as cancelled, and is made again.",
        edits=(
            module(
                "_book",
                'self.begun and self.job.delivery == "at_most_once"',
                'not self.begun and self.job.delivery == "at_most_once"',
            ),
        ),
        found_by="tests/acceptance/test_worker_leases.py::"
        "test_an_at_most_once_job_whose_begun_handler_is_cancelled_is_unknown",
    ),
    Mutant(
        name="nobody looks after the runners",
        breaks="A worker whose runner died keeps its slot and its job for ever, with a lease.",
        edits=(
            module(
                "worker",
                "self._claim_until_stopped([*loops, *runners])",
                "self._claim_until_stopped(loops)",
            ),
        ),
        found_by="tests/acceptance/test_worker_leases.py::"
        "test_a_worker_that_may_not_start_jobs_ends_with_that_error",
    ),
    Mutant(
        name="a drain gives nothing back",
        breaks="After every deployment jobs wait until their leases run out.",
        edits=(
            module(
                "worker",
                "        await self._give_back([h for h in self._book.unreported() if h.repeatable])\n",
                "",
            ),
        ),
        found_by="tests/acceptance/test_worker_drain.py::"
        "test_after_the_deadline_what_may_run_again_is_given_back",
    ),
    Mutant(
        name="a drain does not wait for the last answers",
        breaks="The results of the last moment are lost and the jobs run again.",
        edits=(module("_reporter", "        await self._acknowledged.wait()\n", ""),),
        found_by="tests/acceptance/test_worker_drain.py::"
        "test_handlers_that_run_finish_and_are_reported",
    ),
    Mutant(
        name="reports are dropped when the server is away",
        breaks="Work that was done during a restart is done again.",
        edits=(
            module(
                "_reporter", "import InvalidArgument", "import EngineUnavailable, InvalidArgument"
            ),
            module(
                "_reporter",
                "            except InvalidArgument as error:\n",
                "            except EngineUnavailable:\n                return []\n"
                "            except InvalidArgument as error:\n",
            ),
        ),
        found_by="tests/faults/test_worker_server.py::"
        "test_a_result_whose_connection_was_cut_is_reported_again",
    ),
    Mutant(
        name="one broken report rejects its batch",
        breaks="An output that is no JSON fails a thousand other jobs that were done.",
        edits=(
            module(
                "_reporter",
                "reports[error.item - 1] = _broken(reports[error.item - 1], error)\n",
                "reports[:] = [_broken(report, error) for report in reports]\n",
            ),
        ),
        found_by="tests/acceptance/test_worker_handlers.py::"
        "test_one_bad_output_does_not_harm_the_batch",
    ),
    Mutant(
        name="the worker gives up when the server is away",
        breaks="A restart of PostgreSQL ends every worker.",
        edits=(
            module(
                "_retrying",
                "except (EngineUnavailable, TryAgain) as error:",
                "except TryAgain as error:",
            ),
        ),
        found_by="tests/faults/test_worker_server.py::"
        "test_a_result_whose_connection_was_cut_is_reported_again",
    ),
    Mutant(
        name="pauses between tries do not grow",
        breaks="A thousand workers hammer a server that is coming up.",
        edits=(
            module("_retrying", "pause = min(longest, pause * 2)", "pause = min(longest, pause)"),
        ),
        found_by="tests/unit/test_retrying.py::test_pauses_double_up_to_the_longest_within_a_fifth",
    ),
)
