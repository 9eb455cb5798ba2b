-- jobengine.start: begins the work on leases that were claimed in two phases.
-- Transition: claimed → running | expired
-- Returns: per item its number, job, verdict and new lease end: `ok`; `duplicate` (begun before: the work may
--   have been done); `stale_lease` (not the newest lease, or the job expired meanwhile); `not_found`.
-- Writes: lease
-- Locks: its leases, sorted by id.
-- Calls: _now, _check_items, _strayed
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
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_held jobengine._item[];
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    select array_agg((h.item, h.job_id, h.lease_epoch, h.started_at, h.lapses)::jobengine._item) into v_held
    from (
        select i.item::integer, l.job_id, l.lease_epoch, l.started_at, l.expires_at <= v_now as lapses
        from (select * from unnest(p_job_ids, p_lease_epochs) with ordinality u (job_id, lease_epoch, item)
              order by u.job_id, u.item) i
        join jobengine.lease l on l.job_id = i.job_id and l.lease_epoch = i.lease_epoch and not l.lapsed
        order by l.job_id, i.item
        for update of l
    ) h;
    update jobengine.lease l
    set started_at = case when not h.lapses then v_now end,
        lapsed = h.lapses,
        agent_id = case when not h.lapses then l.agent_id end,
        lost = 0,
        lease_expires_at = case when h.lapses then v_now else v_now + make_interval(secs => j.lease_seconds) end
    from unnest(v_held) u
    cross join lateral (select u.job_id, coalesce(u.lapses, false) as lapses) h
    join jobengine.job j on j.job_id = h.job_id
    where l.job_id = h.job_id and u.started_at is null;
    return query
    select i.item::integer, i.job_id,
           case when h.job_id is null or l.lapsed then jobengine._strayed(i.job_id)
                when h.started_at is not null
                     or row_number() over (partition by i.job_id, i.lease_epoch order by i.item) > 1 then 'duplicate'
                else 'ok' end,
           case when not l.lapsed then l.lease_expires_at end
    from unnest(p_job_ids, p_lease_epochs) with ordinality i (job_id, lease_epoch, item)
    left join unnest(v_held) h on h.item = i.item
    left join jobengine.lease l on l.job_id = h.job_id
    order by i.item;
end;
$$;
