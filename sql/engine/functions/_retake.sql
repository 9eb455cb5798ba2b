-- jobengine._retake: the leases that an earlier claim with the same request id took.
-- Transition: none
-- Returns: the jobs, as the first answer gave them but by priority and id, and without run_at, which a lease
--   does not keep; null where there are none or all have run out.
-- Writes: nothing
-- Locks: nothing; claim holds the request's advisory lock.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: the advisory lock makes a repeat wait for the first try, so that this sees what that one took.
create or replace function jobengine._retake(
    p_tenant_id uuid, p_agent_id text, p_request_id uuid, p_now timestamptz
) returns jobengine._held[]
language sql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select array_agg((
               l.job_id, l.tenant_id, l.queue, l.job_type, l.priority, j.input, j.meta, null, l.attempt,
               l.max_attempts, l.lease_epoch, l.lease_expires_at, j.lease_seconds, l.started_at, l.delivery,
               l.expires_at, j.created_at)::jobengine._held
               order by l.priority, l.job_id)
    from (
        select w.job_id, w.tenant_id, w.queue, w.job_type, w.priority, w.attempt, w.max_attempts, w.lease_epoch,
               w.lease_expires_at, w.started_at, w.delivery, w.expires_at, w.lapsed
        from jobengine.lease w where w.agent_id = p_agent_id and w.request_id = p_request_id
        offset 0    -- no other index may come into question
    ) l
    cross join lateral (
        select b.input, b.meta, b.lease_seconds, b.created_at
        from jobengine.job b where b.job_id = l.job_id limit 1
    ) j
    where (p_tenant_id is null or l.tenant_id = p_tenant_id)
      and not l.lapsed and l.lease_expires_at > p_now
$$;
