-- jobengine.extend: keeps leases while their work goes on.
-- Transition: none
-- Returns: per item its number, job, verdict, new lease end and cancel_reason (not null: the holder is asked to
--   stop); `ok`, `stale_lease` (no longer the holder: stop at once) or `not_found`.
-- Writes: lease
-- Locks: its leases, sorted by id.
-- Calls: _now, _check_items, _hold, _invalid, _strayed
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
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_held jobengine._item[];
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    perform jobengine._invalid('seconds', 'from 0.1 to 86400') where p_seconds not between 0.1 and 86400;
    v_held := jobengine._hold(p_job_ids, p_lease_epochs, v_now);
    update jobengine.lease l
    set lease_expires_at = v_now + make_interval(secs => coalesce(p_seconds, (
        select j.lease_seconds from jobengine.job j where j.job_id = l.job_id)))
    where l.job_id = any (array(select h.job_id from unnest(v_held) h));
    return query
    select i.item::integer, i.job_id,
           case when h.job_id is null then jobengine._strayed(i.job_id) else 'ok' end,
           l.lease_expires_at, l.cancel_reason
    from unnest(p_job_ids, p_lease_epochs) with ordinality i (job_id, lease_epoch, item)
    left join unnest(v_held) h on h.job_id = i.job_id and h.lease_epoch = i.lease_epoch
    left join lateral (
        select w.lease_expires_at, w.cancel_reason from jobengine.lease w where w.job_id = h.job_id limit 1
    ) l on true
    order by i.item;
end;
$$;
