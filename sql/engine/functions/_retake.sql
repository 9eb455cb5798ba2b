-- jobengine._retake: the leases that earlier claims with the same request ids took.
-- Transition: none
-- Returns: the jobs and, beside each, its request: as the first answer gave them but by priority and id, and
--   without run_at, which a lease does not keep. None of a request whose leases have all run out.
-- Writes: nothing
-- Locks: nothing; claim holds the requests' advisory locks.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: the advisory lock makes a repeat wait for the first try, so that this sees what that one took.
create or replace function jobengine._retake(
    p_requests jobengine._claim_request[], p_now timestamptz,
    out held jobengine._held[], out requests integer[]
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    select array_agg((
               l.job_id, l.tenant_id, l.queue, l.job_type, l.priority, j.input, j.meta, null, l.attempt,
               l.max_attempts, l.lease_epoch, l.lease_expires_at, j.lease_seconds, l.started_at, l.delivery,
               l.expires_at, j.created_at)::jobengine._held
               order by r.request, l.priority, l.job_id),
           array_agg(r.request order by r.request)
    into held, requests
    from unnest(p_requests) r
    cross join lateral (
        select w.job_id, w.tenant_id, w.queue, w.job_type, w.priority, w.attempt, w.max_attempts, w.lease_epoch,
               w.lease_expires_at, w.started_at, w.delivery, w.expires_at, w.lapsed
        from jobengine.lease w where w.agent_id = r.agent_id and w.request_id = r.request_id
        offset 0    -- no other index may come into question
    ) l
    cross join lateral (
        select b.input, b.meta, b.lease_seconds, b.created_at
        from jobengine.job b where b.job_id = l.job_id limit 1
    ) j
    where r.request_id is not null and (r.tenant_id is null or l.tenant_id = r.tenant_id)
      and not l.lapsed and l.lease_expires_at > p_now;
end;
$$;
