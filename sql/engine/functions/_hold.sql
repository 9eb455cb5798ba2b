-- jobengine._hold: locks the leases that a call names and that are its holder's.
-- Transition: none
-- Returns: one element per lease that is there: job_id, lease_epoch, started_at, and whether it lapses now (not
--   begun, and past the job's expires_at).
-- Writes: nothing
-- Locks: the leases, sorted by id; it waits for those that others hold.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: waits for a transaction that changes one of them, then judges what that one left. The lateral
--   probe keeps the order of ids; a join may be walked from the other side, through the whole index, by a plan
--   from the time when `lease` was small.
create or replace function jobengine._hold(p_job_ids uuid[], p_lease_epochs integer[], p_now timestamptz)
returns jobengine._item[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_held jobengine._item[];
begin
    select array_agg((h.job_id, h.lease_epoch, h.started_at, h.lapses)::jobengine._item) into v_held
    from (
        select l.job_id, l.lease_epoch, l.started_at,
               l.started_at is null and coalesce(l.expires_at <= p_now, false) as lapses
        from (select distinct u.job_id, u.lease_epoch from unnest(p_job_ids, p_lease_epochs) u (job_id, lease_epoch)
              order by u.job_id, u.lease_epoch) i
        cross join lateral (
            select w.job_id, w.lease_epoch, w.started_at, w.expires_at from jobengine.lease w
            where w.job_id = i.job_id and w.lease_epoch = i.lease_epoch and not w.lapsed
            limit 1
            for update
        ) l
    ) h;
    return v_held;
end;
$$;
