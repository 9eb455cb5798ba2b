-- jobengine doctor, waiting: the processes that sleep until a job comes, per queue.
-- Reads: jobengine.waiting
-- Rights: the owner
-- A row that is out of date belongs to a process that died; sweep removes it.
select
    w.tenant_id,
    w.queue,
    pg_catalog.count(distinct w.listener_id) filter (where w.until >= clock_timestamp()) as sleepers,
    count(*) filter (where w.until < clock_timestamp() - interval '60 s') as stale
from jobengine.waiting w
group by w.tenant_id, w.queue;
