-- jobengine.retry: puts ended jobs back to wait, with all attempts before them.
-- Transition: failed | cancelled | expired → pending
-- Returns: per job its id, verdict and status: `ok`; `conflict` (not ended, or completed, unknown, unsettled, or
--   its live key is another job's now); `settle_failed` (the parent refused; nothing changed); `not_found`;
--   `busy` (it ended while this looked; call again).
-- Writes: ended, ready, live_key
-- Locks: ended rows sorted by id (it waits for those that others hold), then what the settle functions lock.
-- Calls: _now, _check_retry, _read_committed, _retry_keys, _settle_pending, _notify_ready
-- Raises: JE002, JE004
-- Concurrency: the lease epoch goes on from where it was, so that a report of an old lease stays stale. The
--   job is first settled as `pending`. p_run_at null: now; p_expires_at null: never.
create or replace function jobengine.retry(
    p_job_ids uuid[],
    p_run_at timestamptz default null,
    p_expires_at timestamptz default null,
    p_tenant_id uuid default null
) returns table (job_id uuid, verdict text, status text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_may uuid[];
    v_keyless uuid[];
    v_unsettled uuid[];
    v_back uuid[];
begin
    perform jobengine._check_retry(p_job_ids, p_run_at, p_expires_at);
    perform jobengine._read_committed();
    v_may := array(
        select e.job_id from jobengine.ended e
        where e.job_id = any (p_job_ids) and e.settle_at is null
          and coalesce(e.status) in ('failed', 'cancelled', 'expired')    -- coalesce: not by the index on status
          and (p_tenant_id is null or e.tenant_id = p_tenant_id)
        order by e.job_id
        for update);
    v_keyless := jobengine._retry_keys(v_may);
    v_unsettled := jobengine._settle_pending(
        array(select m from unnest(v_may) m where m <> all (v_keyless) order by m));
    v_back := array(select m from unnest(v_may) m where m <> all (v_keyless) and m <> all (v_unsettled) order by m);
    delete from jobengine.live_key k
    where k.ctid = any (array(
        select w.ctid from unnest(v_unsettled) i
        cross join lateral (select b.tenant_id, b.live_key from jobengine.job b where b.job_id = i limit 1) j
        cross join lateral (
            select l.ctid from jobengine.live_key l
            where l.tenant_id = j.tenant_id and l.live_key = j.live_key and l.job_id = i limit 1) w));
    with gone as (
        delete from jobengine.ended e where e.job_id = any (v_back) returning e.job_id, e.lease_epoch
    )
    insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
    select g.job_id, j.tenant_id, j.queue, j.priority, coalesce(p_run_at, v_now), 0, g.lease_epoch, 0, p_expires_at
    from gone g
    cross join lateral (
        select b.tenant_id, b.queue, b.priority from jobengine.job b where b.job_id = g.job_id limit 1) j;
    perform jobengine._notify_ready(array_agg(j.tenant_id), array_agg(j.queue), v_now)
    from jobengine.job j where j.job_id = any (v_back) having count(*) > 0;
    return query
    select i, case when i = any (v_back) then 'ok'
                   when i = any (v_unsettled) then 'settle_failed'
                   when v.job_id is null then 'not_found'
                   when v.status in ('failed', 'cancelled', 'expired') and v.finished_at is not null
                        and v.settle_at is null and i <> all (v_keyless) then 'busy'
                   else 'conflict' end,
           v.status
    from (select distinct u from unnest(p_job_ids) u) d (i)
    left join lateral (
        select w.job_id, w.tenant_id, w.status, w.finished_at, w.settle_at
        from jobengine.jobs w where w.job_id = i limit 1
    ) v on p_tenant_id is null or v.tenant_id = p_tenant_id
    order by i;
end;
$$;
