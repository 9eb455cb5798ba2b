-- jobengine._enqueue_plain: writes jobs that carry no key.
-- Transition: none → pending
-- Returns: item, job_id, `ok`.
-- Writes: job, ready
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe, nothing to wait for.
create or replace function jobengine._enqueue_plain(p_jobs jobengine._new_job[], p_now timestamptz)
returns table (item integer, job_id uuid, verdict text)
language sql
set search_path = pg_catalog, pg_temp
as $$
    with written as (
        insert into jobengine.job (
            job_id, tenant_id, queue, job_type, priority, input, meta,
            max_attempts, lease_seconds, delivery, wake, created_at)
        select n.job_id, n.tenant_id, n.queue, n.job_type, n.priority, n.input, n.meta,
               n.max_attempts, n.lease_seconds, n.delivery, n.wake, p_now
        from unnest(p_jobs) n
    ), waits as (
        insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
        select n.job_id, n.tenant_id, n.queue, n.priority, n.run_at, 0, 0, 0, n.expires_at
        from unnest(p_jobs) n
    )
    select n.item, n.job_id, 'ok' from unnest(p_jobs) n
$$;
