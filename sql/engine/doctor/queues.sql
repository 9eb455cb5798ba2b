-- jobengine doctor, queues: the queues whose due jobs are oldest, and when somebody last claimed from each.
-- Reads: jobengine.ready, jobengine.lease, jobengine.ended, jobengine.job
-- Rights: jobengine_operator, or the owner
-- A lease that has not run out counts as a claim of now: who keeps it serves the queue, however long the job takes.
-- Claims are seen in leases and in the 1,000 newest ended jobs, and the 1,000 before the queue's first due one.
select
    d.tenant_id,
    d.queue,
    d.jobs,
    extract(epoch from clock_timestamp() - d.oldest)::double precision as seconds,
    extract(epoch from clock_timestamp() - greatest(held.claimed_at, new.claimed_at, old.claimed_at))::double precision
        as claimed
from (
    select r.tenant_id, r.queue, count(*) as jobs, min(r.run_at) as oldest, min(r.job_id::text)::uuid as first_id
    from jobengine.ready r
    where r.run_at <= clock_timestamp()
    group by r.tenant_id, r.queue
    order by oldest
    limit 100
) d
left join lateral (
    select max(case when l.lease_expires_at > clock_timestamp() then clock_timestamp() else l.claimed_at end)
        as claimed_at
    from jobengine.lease l
    where l.tenant_id = d.tenant_id and l.queue = d.queue and not l.lapsed
) held on true
left join lateral (
    select max(e.claimed_at) as claimed_at
    from (select w.job_id, w.claimed_at from jobengine.ended w order by w.job_id desc limit 1000) e
    join jobengine.job j on j.job_id = e.job_id and j.tenant_id = d.tenant_id and j.queue = d.queue
) new on true
left join lateral (
    select max(e.claimed_at) as claimed_at
    from (select w.job_id, w.claimed_at from jobengine.ended w
          where w.job_id < d.first_id order by w.job_id desc limit 1000) e
    join jobengine.job j on j.job_id = e.job_id and j.tenant_id = d.tenant_id and j.queue = d.queue
) old on true
order by seconds desc;
