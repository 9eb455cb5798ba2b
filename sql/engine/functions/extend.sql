-- jobengine.extend: keeps leases while their work goes on.
-- Transition: none
-- Returns: per item its number, job, verdict, new lease end and cancel_reason (not null: the holder is asked to
--   stop); `ok`, `stale_lease` (no longer the holder: stop at once) or `not_found`.
-- Writes: lease
-- Locks: its leases, sorted by id.
-- Calls: _now, _check_items, _invalid, _strayed
-- Raises: JE002
-- Concurrency: safe. A lease that ran out, but was not yet taken back, is kept alive. p_seconds null: the
--   job's own lease.
create or replace function jobengine.extend(
    p_job_ids uuid[], p_lease_epochs integer[], p_seconds double precision default null
) returns table (item integer, job_id uuid, verdict text, lease_expires_at timestamptz, cancel_reason text)
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
    v_held uuid[];
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    perform jobengine._invalid('seconds', 'from 0.1 to 86400') where p_seconds not between 0.1 and 86400;
    v_held := array(
        select l.job_id
        from (select distinct u.job_id, u.lease_epoch from unnest(p_job_ids, p_lease_epochs) u (job_id, lease_epoch)
              order by u.job_id) i
        join jobengine.lease l on l.job_id = i.job_id and l.lease_epoch = i.lease_epoch and not l.lapsed
        order by l.job_id
        for update of l);
    update jobengine.lease l
    set lease_expires_at = v_now + make_interval(secs => coalesce(p_seconds, j.lease_seconds))
    from unnest(v_held) h (job_id)
    join jobengine.job j on j.job_id = h.job_id
    where l.job_id = h.job_id;
    return query
    select i.item::integer, i.job_id,
           case when l.job_id is null then jobengine._strayed(i.job_id) else 'ok' end,
           l.lease_expires_at, l.cancel_reason
    from unnest(p_job_ids, p_lease_epochs) with ordinality i (job_id, lease_epoch, item)
    left join jobengine.lease l on l.job_id = i.job_id and l.lease_epoch = i.lease_epoch and l.job_id = any (v_held)
    order by i.item;
end;
$$;
