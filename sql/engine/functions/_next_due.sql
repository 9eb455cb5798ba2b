-- jobengine._next_due: in how many seconds the next scheduled job of these tenants and queues is due.
-- Transition: none
-- Returns: seconds, by the engine's clock, or null where nothing is scheduled.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
-- Concurrency: safe. One probe of the claim's index per tenant, queue and priority.
create or replace function jobengine._next_due(p_tenant_ids uuid[], p_queues text[]) returns double precision
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_now timestamptz := jobengine._now();
begin
    return (
        select extract(epoch from min(d.run_at) - v_now)::double precision
        from unnest(p_tenant_ids) t
        cross join unnest(p_queues) q
        cross join generate_series(0, 9) p
        cross join lateral (
            select r.run_at from jobengine.ready r
            where r.tenant_id = t and r.queue = q and r.priority = p and r.run_at > v_now
            order by r.run_at
            limit 1
        ) d);
end;
$$;
