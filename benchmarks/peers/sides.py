"""All sides, with the fastest settings that their documentation names and that proved fastest here.

Pools of 10 connections, where not said otherwise; Python under uvloop, ours too, but for Celery.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.peers.side import Side

MILLION = 1_000_000

JOBENGINE = Side(
    name="jobengine, a handler per job",
    program="jobengine_.py",
    settings="Worker(concurrency=2000), handles, gc.freeze(); enqueue; enqueue_many, one call",
    source="jobengine/worker.py",
    left="select from jobengine.ready union all select from jobengine.lease",
    ended="select count(*) from jobengine.ended"
    " where status = 'completed' and output = '{\"ok\": true}'",
    ours=True,
    drain=150_000,
    backlog=5 * MILLION,
)
JOBENGINE_BATCH = replace(
    JOBENGINE,
    name="jobengine, a handler per batch",
    flavour="batch",
    settings="Worker(concurrency=2000), handles_batch(size=1000), gc.freeze()",
    drain=200_000,
    caller=False,
)
GRAPHILE = Side(
    name="graphile-worker",
    program="graphile_worker.mjs",
    settings="24 jobs, pool 25, localQueue 500, completeJobBatchDelay 0, failJobBatchDelay 0;"
    " addJobs by 10,000; an ended job is deleted, no result",
    source="its documentation, Performance: the preset of its published figures",
    left="select from graphile_worker._private_jobs",
    python=False,
    drain=200_000,
    backlog=5 * MILLION,
)
PG_BOSS = Side(
    name="pg-boss",
    program="pg_boss.mjs",
    settings="work() with batchSize 1000, burstWhenBatchFull, localConcurrency 2, polling 0.5 s,"
    " queue with notify; insert by 10,000",
    source="its API reference: JobFetchOptions, JobPollingOptions, WorkConcurrencyOptions,"
    " useListenNotify",
    left="select from pgboss.job where state < 'completed'",
    ended="select count(*) from pgboss.job where state = 'completed'",
    python=False,
    drain=150_000,
    backlog=5 * MILLION,
)
PGQUEUER = Side(
    name="pgqueuer",
    program="pgqueuer_.py",
    settings="asyncpg pool, batch_size 1000; enqueue of lists of 1,000;"
    " an ended job moves to its log",
    source="its documentation: batch_size, AsyncpgPoolDriver, batch enqueue",
    left="select from pgqueuer",
    ended="select count(*) from pgqueuer_log where status = 'successful'",
    drain=70_000,
    backlog=5 * MILLION,
)
AWA = Side(
    name="awa-pg",
    program="awa_.py",
    settings="4 partitions, 1,024 workers each, claim_batch_size 512, no deadline, pool 20;"
    " enqueue_many_copy by 10,000",
    source="its documentation: PartitionedQueue, tuning; best of 20 configurations tried",
    ends_counted=True,  # its view of all jobs takes longer than a drain
    ended="select count(*) from awa.terminal_jobs where state = 'completed'",
    drain=35_000,
    backlog=MILLION,
)
PROCRASTINATE = Side(
    name="procrastinate",
    program="procrastinate_.py",
    settings="concurrency 30; batch_defer_async by 1,000",
    source="its documentation: how-to, concurrency and batch defer",
    left="select from procrastinate_jobs where status in ('todo', 'doing')",
    ended="select count(*) from procrastinate_jobs where status = 'succeeded'",
    drain=3_500,
    backlog=MILLION,
)
SAQ = Side(
    name="SAQ on Redis",
    program="saq_.py",
    settings="concurrency 100, hiredis, max_concurrent_ops 100; 100 enqueues at once",
    source="its documentation: Worker(concurrency), RedisQueue",
    left="saq:default:incomplete",
    redis=True,
    drain=12_000,
    bulk=40_000,
)
CELERY = Side(
    name="Celery on Redis",
    program="celery_.py",
    settings="solo pool, acks_late, prefetch 1000, results ignored, no gossip, mingle, heartbeat;"
    " threads call; apply_async in a loop",
    source="its documentation: Optimizing, Workers guide",
    left="celery unacked",
    redis=True,
    drain=5_000,
    bulk=8_000,
)

SIDES = (
    JOBENGINE,
    JOBENGINE_BATCH,
    GRAPHILE,
    PG_BOSS,
    PGQUEUER,
    AWA,
    PROCRASTINATE,
    SAQ,
    CELERY,
)
