-- jobengine._doze: says that a process sleeps until a job of these queues comes, for at most p_seconds.
-- Transition: none
-- Returns: nothing.
-- Writes: waiting
-- Locks: nothing that others wait for.
-- Calls: _now
-- Raises: nothing
-- Concurrency: the sleeper claims once more after this has committed, so that a job which came in between
--   is found. p_tenant_ids null means any tenant.
create or replace function jobengine._doze(
    p_listener_id uuid, p_tenant_ids uuid[], p_queues text[], p_seconds double precision
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_until timestamptz := jobengine._now() + make_interval(secs => p_seconds);
begin
    insert into jobengine.waiting (listener_id, queue, tenant_id, until)
    select p_listener_id, q, t, v_until
    from unnest(p_queues) q
    cross join unnest(coalesce(p_tenant_ids, array[null::uuid])) t;
end;
$$;
