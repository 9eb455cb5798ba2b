-- jobengine._first_apart: the first request of a claim that _take_each cannot serve.
-- Transition: none
-- Returns: its number: it wants more than one job or of several tenants, or repeats a request id of this call;
--   one more than there are, if there is none.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe.
create or replace function jobengine._first_apart(p_requests jobengine._claim_request[]) returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    return coalesce(min(s.request), cardinality(p_requests) + 1)
    from (
        select r.request, r.max_jobs, r.tenants, r.request_id,
               row_number() over (partition by r.tenant_id, r.agent_id, r.request_id order by r.request) as turn
        from unnest(p_requests) r
    ) s
    where s.max_jobs > 1 or cardinality(s.tenants) is distinct from 1 or s.turn > 1 and s.request_id is not null;
end;
$$;
