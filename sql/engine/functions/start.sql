-- jobengine.start: begins the work on leases that were claimed in two phases.
-- Transition: claimed → running | expired
-- Returns: per item its number, job, verdict and new lease end: `ok`; `duplicate` (begun before: the work may
--   have been done); `stale_lease` (not the newest lease, or the job expired meanwhile); `not_found`.
-- Writes: lease
-- Locks: its leases, sorted by id.
-- Calls: _now, _check_items, _hold, _strayed
-- Raises: JE002
-- Concurrency: safe. A start takes a full new lease and forgets leases lost before. Past the job's expires_at
--   the lease lapses instead, and sweep ends the job.
create or replace function jobengine.start(p_job_ids uuid[], p_lease_epochs integer[])
returns table (item integer, job_id uuid, verdict text, lease_expires_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_held jobengine._item[];
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    v_held := jobengine._hold(p_job_ids, p_lease_epochs, v_now);
    update jobengine.lease l
    set started_at = v_now,
        lost = 0,
        lease_expires_at = v_now + make_interval(secs => (
            select j.lease_seconds from jobengine.job j where j.job_id = l.job_id))
    where l.job_id = any (array(select h.job_id from unnest(v_held) h where h.started_at is null and not h.lapses));
    update jobengine.lease l
    set lapsed = true, agent_id = null, request_id = null, lease_expires_at = v_now
    where l.job_id = any (array(select h.job_id from unnest(v_held) h where h.lapses));
    return query
    select i.item::integer, i.job_id,
           case when h.job_id is null or h.lapses then jobengine._strayed(i.job_id)
                when h.started_at is not null
                     or row_number() over (partition by i.job_id, i.lease_epoch order by i.item) > 1 then 'duplicate'
                else 'ok' end,
           case when not h.lapses then (
               select l.lease_expires_at from jobengine.lease l where l.job_id = h.job_id) end
    from unnest(p_job_ids, p_lease_epochs) with ordinality i (job_id, lease_epoch, item)
    left join unnest(v_held) h on h.job_id = i.job_id and h.lease_epoch = i.lease_epoch
    order by i.item;
end;
$$;
