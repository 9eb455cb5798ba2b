"""What an operator does to jobs from the command line: by id, by filter, in bulk."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from tests.acceptance.command_line import PATIENCE, CommandLine, Said
from tests.acceptance.world import ANNA, NOBODY, Db, as_owner, counts, scalar, until


@pytest.fixture
def jobengine(db: Db, database_url: str, tmp_path: Path) -> CommandLine:
    db.execute("select jobengine.register_job_type('resize')")
    db.execute("select jobengine.register_job_type('careful', p_delivery => 'at_most_once')")
    return CommandLine(database_url, tmp_path)


def enqueue(db: Db, count: int = 1, job_type: str = "resize", queue: str = "default") -> list[UUID]:
    rows = db.execute(
        "select job_id from jobengine.enqueue(array_fill(%s::text, array[%s]), array_fill("
        "'{}'::jsonb, array[%s]), p_queues => array_fill(%s::text, array[%s]))",
        (job_type, count, count, queue, count),
    ).fetchall()
    return [row["job_id"] for row in rows]


def claim(db: Db, two_phase: str = "never") -> int:
    """Take a job and return its lease epoch."""
    request = [{"queues": ["default"], "agent_id": "anna", "limit": 1, "two_phase": two_phase}]
    epoch = scalar(
        db,
        "select lease_epoch from jobengine.claim(%s::text::jsonb)",
        orjson.dumps(request).decode(),
    )
    assert isinstance(epoch, int)
    return epoch


def lose(db: Db) -> None:
    """Let the leases run out."""
    as_owner(db, "update jobengine.lease set lease_expires_at = now() - interval '1 h'")
    db.execute("select from jobengine.sweep()")


def lines(said: Said) -> list[Any]:
    return [orjson.loads(line) for line in said.out.splitlines()]


def statuses(db: Db) -> dict[Any, Any]:
    rows = db.execute("select status, count(*) as n from jobengine.jobs group by 1").fetchall()
    return {row["status"]: row["n"] for row in rows}


def test_enqueue_takes_every_field_of_a_job(jobengine: CommandLine, db: Db) -> None:
    said = jobengine(
        "enqueue", "resize", '{"n": 1}', "--queue", "images", "--priority", "2", "--tenant", ANNA,
        "--run-at", "2040-01-01T00:00:00Z", "--expires-at", "2041-01-01T00:00:00Z", "--dedup-key",
        "once", "--max-attempts", "7", "--lease", "33", "--meta", '{"by": "anna"}', "--wake",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    job = db.execute(
        "select job_type, input, queue, priority, tenant_id, dedup_key, max_attempts,"
        " lease_seconds, meta, wake from jobengine.job"
    ).fetchone()
    assert job == {
        "job_type": "resize",
        "input": {"n": 1},
        "queue": "images",
        "priority": 2,
        "tenant_id": ANNA,
        "dedup_key": "once",
        "max_attempts": 7,
        "lease_seconds": 33,
        "meta": {"by": "anna"},
        "wake": True,
    }
    assert (
        scalar(db, "select extract(year from run_at at time zone 'UTC') from jobengine.ready")
        == 2040
    )
    again = jobengine("enqueue", "resize", "--tenant", ANNA, "--dedup-key", "once")
    assert again.out == f"{said.out.split()[0]} duplicate\n"
    assert jobengine("enqueue", "resize", "--live-key", "one", "--delay", "5").code == 0
    assert jobengine("enqueue", "resize", "--live-key", "one", "--expires-in", "5").code == 0
    assert counts(db)["job"] == 2


def test_input_comes_from_a_file_or_standard_input(
    jobengine: CommandLine, db: Db, tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text('{"from": "file"}')
    assert jobengine("enqueue", "resize", "@job.json").code == 0
    assert jobengine("enqueue", "resize", "-", stdin=b'{"from": "stdin"}').code == 0
    rows = db.execute("select input->>'from' as f from jobengine.job order by job_id").fetchall()
    assert [row["f"] for row in rows] == ["file", "stdin"]
    said = jobengine("enqueue", "resize", "@nothing.json")
    assert (said.code, said.out) == (1, "")
    assert "invalid input: a file that can be read" in said.err


def test_waiting_for_a_job_ends_with_its_end(jobengine: CommandLine, db: Db) -> None:
    for outcome, code in (("completed", 0), ("rejected", 1)):
        with jobengine.start("enqueue", "resize", "--wait", str(PATIENCE), "--json") as process:
            asyncio.run(until(lambda: scalar(db, "select 1 from jobengine.ready")))
            epoch = claim(db)
            job_id = scalar(db, "select job_id from jobengine.lease")
            db.execute(
                "select from jobengine.finish(array[%s], array[%s], array[%s])",
                (job_id, epoch, outcome),
            )
            out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (code, b"")
        assert orjson.loads(out)["job_id"] == str(job_id)


def ndjson(path: Path, jobs: Sequence[Any]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(job) + b"\n" for job in jobs))
    return path


def test_many_jobs_come_from_lines_and_take_defaults(
    jobengine: CommandLine, db: Db, tmp_path: Path
) -> None:
    jobs: list[dict[str, Any]] = [{"input": {"n": n}} for n in range(20_050)]
    jobs[20_049] |= {"queue": "other", "tenant_id": str(ANNA), "run_at": "2040-01-01T00:00:00Z"}
    file = ndjson(tmp_path / "jobs.ndjson", jobs)
    said = jobengine("enqueue", "resize", "--many", file, "--queue", "bulk")
    assert (said.code, said.out) == (0, "20,050 ok\n")
    assert "jobs 100% 20050/20050" in said.err
    rows = db.execute(
        "select queue, tenant_id, count(*) as n from jobengine.job group by 1, 2 order by 1"
    ).fetchall()
    assert [(row["queue"], row["n"]) for row in rows] == [("bulk", 20_049), ("other", 1)]
    assert rows[1]["tenant_id"] == ANNA


def test_many_answers_line_by_line_in_json(jobengine: CommandLine) -> None:
    given = (
        b'{"job_type": "resize", "dedup_key": "a"}\n\n{"job_type": "resize", "dedup_key": "a"}\n'
    )
    said = jobengine("enqueue", "--many", "-", "--json", stdin=given)
    assert said.code == 0
    assert [(answer["item"], answer["verdict"]) for answer in lines(said)] == [
        (1, "ok"),
        (3, "duplicate"),
    ]


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"queue": "a b"}, "invalid queue (item 10003): "),
        ({"colour": "red"}, "invalid colour (item 10003): no field of a job"),
        ({"run_at": "soon"}, "invalid run_at (item 10003): a time"),
        ({"run_at": "2030-01-01T00:00:00"}, "invalid run_at (item 10003): a datetime with a time"),
        ({"tenant_id": "anna"}, "invalid tenant_id (item 10003): a UUID"),
        ([], "invalid line (item 10003): a JSON object"),
    ],
)
def test_many_is_all_or_none_and_names_the_line(
    jobengine: CommandLine, db: Db, tmp_path: Path, bad: Any, message: str
) -> None:
    file = ndjson(tmp_path / "jobs.ndjson", [*[{}] * 10_002, bad, {}])
    said = jobengine("enqueue", "resize", "--many", file)
    assert (said.code, said.out) == (1, "")
    assert message in said.err
    assert counts(db)["job"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_many_that_is_stopped_leaves_nothing(
    jobengine: CommandLine, db: Db, number: signal.Signals
) -> None:
    with jobengine.start("enqueue", "resize", "--many", "-") as process:
        assert process.stdin
        process.stdin.write(b"{}\n" * 10_001)
        process.stdin.flush()
        # One batch is in the open transaction; the command waits for more lines.
        asyncio.run(
            until(
                lambda: scalar(
                    db,
                    "select 1 from pg_stat_activity where state ="
                    " 'idle in transaction' and datname = current_database()",
                )
            )
        )
        process.send_signal(number)
        process.wait(PATIENCE)
        assert process.returncode == 128 + number
        assert b"Traceback" not in process.communicate()[1]
    assert counts(db)["job"] == 0


def test_list_filters_pages_and_counts(jobengine: CommandLine, db: Db) -> None:
    ids = enqueue(db, 7)[::-1]
    enqueue(db, 2, "careful", "other")
    listed = jobengine("list", "--queue", "default", "--limit", "3", "--json").json
    assert [job["job_id"] for job in listed] == [str(job_id) for job_id in ids[:3]]
    listed = jobengine("list", "--queue", "default", "--before", ids[2], "--json").json
    assert [job["job_id"] for job in listed] == [str(job_id) for job_id in ids[3:]]
    assert len(lines(jobengine("list", "--all", "--json"))) == 9
    assert jobengine("list", "--type", "careful", "--count").out == "2\n"
    said = jobengine("list", "--status", "pending", "--count", "--exact", "--json")
    assert said.json == {"count": 9, "exact": True}
    assert jobengine("list", "--tenant", ANNA).out == "no jobs\n"
    assert jobengine("list", "--exact").code == 2


def test_list_is_a_table_of_eighty_columns(jobengine: CommandLine, db: Db) -> None:
    (job_id,) = enqueue(db)
    title, row = jobengine("list").out.splitlines()
    assert title.split() == ["JOB", "TYPE", "QUEUE", "STATUS", "TRY", "CREATED"]
    assert row.split()[:5] == [str(job_id), "resize", "default", "pending", "0/5"]
    assert row.endswith(" ago")
    assert row.index("pending") == title.index("STATUS")
    assert max(len(title), len(row)) <= 80


def test_a_reader_that_goes_away_is_no_error(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 3000)
    with jobengine.start("list", "--all", "--json") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_get_shows_every_field_that_has_a_value(jobengine: CommandLine, db: Db) -> None:
    (job_id,) = enqueue(db)
    shown = dict(line.split(None, 1) for line in jobengine("get", job_id).out.splitlines())
    assert (shown["job_id"], shown["status"], shown["input"]) == (str(job_id), "pending", "{}")
    assert shown["created_at"].endswith("ago)")
    assert "finished_at" not in shown


def test_stats_that_watch_say_what_changes(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 2)
    with jobengine.start("stats", "--watch", "0.05") as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"default due=2 ")
        enqueue(db, 1, queue="other")
        assert process.stdout.readline().startswith(b"other due=1 ")
        db.execute("select from jobengine.cancel(array(select job_id from jobengine.ready))")
        gone = {process.stdout.readline().split()[0], process.stdout.readline().split()[0]}
        assert gone == {b"default", b"other"}
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130


def test_finish_resolves_an_unknown_job(jobengine: CommandLine, db: Db) -> None:
    (job_id,) = enqueue(db, 1, "careful")
    claim(db)
    lose(db)
    assert statuses(db) == {"unknown": 1}
    said = jobengine("finish", job_id, "--outcome", "completed", "--output", '{"n": 4}')
    assert (said.code, said.out) == (0, "recorded: completed\n")
    assert scalar(db, "select output from jobengine.ended") == {"n": 4}
    said = jobengine("finish", job_id, "--outcome", "completed")
    assert (said.code, said.out) == (0, "recorded the same way before: completed\n")
    said = jobengine("finish", job_id, "--outcome", "failed", "--json")
    assert (said.code, said.json["verdict"]) == (1, "conflict")


def test_finish_ends_a_held_job_only_by_its_epoch(jobengine: CommandLine, db: Db) -> None:
    (job_id,) = enqueue(db)
    said = jobengine("finish", job_id, "--outcome", "failed")
    assert (said.code, said.out) == (1, "")
    assert "cancel is what ends it" in said.err
    epoch = claim(db)
    said = jobengine("finish", job_id, "--outcome", "completed")
    assert (said.code, said.out) == (1, "")
    assert (
        f"held by anna, who will report; to end it in his place, say --lease-epoch {epoch}"
        in said.err
    )
    said = jobengine("finish", job_id, "--outcome", "failed", "--lease-epoch", str(epoch + 1))
    assert (said.code, said.out) == (
        1,
        "not recorded: this is not the lease that counts, see jobengine get\n",
    )
    said = jobengine(
        "finish", job_id, "--outcome", "rejected", "--lease-epoch", str(epoch),
        "--error-code", "looked", "--error-message", "no trace",
    )  # fmt: skip
    assert (said.code, said.out) == (0, "recorded: failed\n")
    assert db.execute("select error_code, error_message from jobengine.ended").fetchone() == {
        "error_code": "looked",
        "error_message": "no trace",
    }
    said = jobengine("finish", NOBODY, "--outcome", "failed")
    assert (said.code, said.err) == (1, f"jobengine: no job {NOBODY}\n")


def test_cancel_and_retry_by_id(jobengine: CommandLine, db: Db) -> None:
    first, second = enqueue(db, 2)
    said = jobengine("cancel", first, "--reason", "wrong folder", "--json")
    assert (said.code, lines(said)) == (
        0,
        [{"job_id": str(first), "verdict": "ok", "status": "cancelled"}],
    )
    assert scalar(db, "select error_message from jobengine.ended") == "wrong folder"
    said = jobengine("cancel", first, NOBODY)
    assert said.code == 1
    assert f"{first}  duplicate  cancelled" in said.out
    assert f"{NOBODY}  not_found  -" in said.out
    assert jobengine("retry", second).code == 1, "it has not ended"
    said = jobengine("retry", first, "--run-at", "2040-01-01T00:00:00Z")
    assert (said.code, statuses(db)) == (0, {"pending": 2})
    assert scalar(db, "select count(*) from jobengine.ready where run_at > '2039-01-01'") == 1


def test_a_limit_above_what_one_call_takes_is_reached(jobengine: CommandLine, db: Db) -> None:
    for _ in range(2):
        enqueue(db, 6000)
    said = jobengine("cancel", "--queue", "default", "--limit", "10005", "--yes")
    assert (said.code, said.out) == (0, "cancelled: 10,005 ok\n")
    assert statuses(db) == {"cancelled": 10_005, "pending": 1995}


def test_cancel_and_retry_by_filter(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 2500)
    enqueue(db, 5, "careful")
    enqueue(db, 3, queue="other")
    filters = ("--queue", "default", "--type", "resize")
    said = jobengine("cancel", *filters)
    assert (said.code, said.out) == (2, "")
    assert "cancel 1,000 jobs of queue default needs --yes" in said.err
    said = jobengine("cancel", *filters, "--limit", "10", "--yes")
    assert (said.code, statuses(db)["cancelled"]) == (0, 10)
    said = jobengine("cancel", *filters, "--all", "--yes")
    assert (said.code, said.out) == (0, "cancelled: 2,490 ok\n")
    assert "cancelled 100% 2490/2490" in said.err
    assert statuses(db) == {"cancelled": 2500, "pending": 8}
    said = jobengine("retry", "--status", "cancelled")
    assert "retry 2,500 cancelled jobs needs --yes" in said.err
    said = jobengine("retry", "--status", "cancelled", "--limit", "1200", "--yes")
    assert (said.code, said.out) == (0, "retried: 1,200 ok\n")
    said = jobengine("retry", "--status", "cancelled", "--queue", "default", "--yes")
    assert (said.code, said.out) == (0, "retried: 1,300 ok\n")
    assert statuses(db) == {"pending": 2508}


@pytest.mark.parametrize(
    "arguments",
    [
        ("cancel",),
        ("cancel", str(NOBODY), "--queue", "default"),
        ("cancel", "--tenant", str(ANNA), "--yes"),
        ("retry",),
        ("retry", "--queue", "default", "--yes"),
        ("retry", str(NOBODY), "--status", "failed"),
        ("enqueue", "--queue", "default"),
        ("enqueue", "resize", "{}", "--many", "-"),
    ],
    ids=" ".join,
)
def test_what_is_meant_must_be_clear(jobengine: CommandLine, arguments: tuple[str, ...]) -> None:
    said = jobengine(*arguments)
    assert (said.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1


def test_sweep_goes_on_until_nothing_is_left(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 5)
    for _ in range(5):
        claim(db)
    as_owner(db, "update jobengine.lease set lease_expires_at = now() - interval '1 h'")
    said = jobengine("sweep", "--limit", "2")
    assert said.out == "2 returned to wait, 0 ended, 0 settled; there is more: --all\n"
    said = jobengine("sweep", "--limit", "2", "--all", "--json")
    assert said.json == {"returned": 3, "ended": 0, "settled": 0, "more": False}
    assert counts(db)["lease"] == 0


def test_prune_removes_step_by_step(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 25)
    db.execute("select from jobengine.cancel(array(select job_id from jobengine.ready))")
    assert jobengine("prune", "--keep-days", "1").out == "0 jobs removed\n"
    said = jobengine("prune", "--keep-days", "0", "--limit", "10")
    assert (said.code, said.out) == (0, "25 jobs removed\n")
    assert said.err.startswith("removed 25 ")
    assert counts(db)["job"] == 0


def test_a_question_is_asked_where_somebody_can_answer(jobengine: CommandLine, db: Db) -> None:
    enqueue(db, 2)
    for answer, code, left in ((b"n\n", 1, 2), (b"y\n", 0, 0)):
        with jobengine.start_on_terminal("cancel", "--queue", "default", answer=answer) as process:
            process.wait(PATIENCE)
            assert process.returncode == code
        assert counts(db)["ready"] == left
