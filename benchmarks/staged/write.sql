-- What enqueue writes, from the rows that COPY left in `incoming`.
with new as materialized (
    select i.item, ids.job_id, i.job_type, coalesce(i.tenant_id, '00000000-0000-0000-0000-000000000000') as tenant_id,
           coalesce(i.queue, 'default') as queue, coalesce(i.priority, t.priority) as priority,
           coalesce(i.input, '{}') as input, coalesce(i.meta, '{}') as meta,
           coalesce(i.max_attempts, t.max_attempts) as max_attempts,
           coalesce(i.lease_seconds, t.lease_seconds) as lease_seconds, t.delivery, coalesce(i.wake, false) as wake,
           coalesce(i.run_at, now() + make_interval(secs => coalesce(i.delay, 0))) as run_at,
           coalesce(i.expires_at, now() + make_interval(secs => i.expires_in)) as expires_at
    from incoming i
    join jobengine.job_type t on t.job_type = i.job_type
    join unnest(jobengine._job_ids(now(), (select count(*)::integer from incoming)))
        with ordinality ids (job_id, item) on ids.item = i.item
    order by i.item
), written as (
    insert into jobengine.job (
        job_id, tenant_id, queue, job_type, priority, input, meta,
        max_attempts, lease_seconds, delivery, wake, created_at)
    select job_id, tenant_id, queue, job_type, priority, input, meta,
           max_attempts, lease_seconds, delivery, wake, now()
    from new
), waits as (
    insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
    select job_id, tenant_id, queue, priority, run_at, 0, 0, 0, expires_at from new
)
select item, job_id, 'ok' from new
