-- jobengine._sweep_ready: ends waiting jobs past their expiry that no claim came across.
-- Transition: pending → expired
-- Returns: how many.
-- Writes: ready
-- Locks: the ready rows, skipping those that others hold; then what _end locks.
-- Calls: _end
-- Raises: nothing
-- Concurrency: safe.
create or replace function jobengine._sweep_ready(p_limit integer, p_now timestamptz) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_endings jobengine._ending[];
begin
    with taken as (
        delete from jobengine.ready r
        where r.ctid = any (array(
            select w.ctid from jobengine.ready w
            where w.expires_at <= p_now
            order by w.expires_at
            limit p_limit
            for update skip locked))
        returning r.job_id, r.attempt, r.lease_epoch
    )
    select array_agg((
               t.job_id, j.tenant_id, j.job_type, 'expired', null, 'expired', null, t.attempt, t.lease_epoch,
               null, null, null, j.live_key, j.wake)::jobengine._ending order by t.job_id)
    into v_endings
    from taken t
    cross join lateral (
        select b.tenant_id, b.job_type, b.live_key, b.wake from jobengine.job b where b.job_id = t.job_id limit 1) j;
    if v_endings is not null then
        perform jobengine._end(v_endings, p_now);
    end if;
    return coalesce(cardinality(v_endings), 0);
end;
$$;
