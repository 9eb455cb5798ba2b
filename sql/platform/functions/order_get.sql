-- public.order_get: an order of the user who calls.
-- Returns: one row.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX404
-- Notes: The planner's choices are pinned as in job_list.
create or replace function public.order_get(p_job_id uuid) returns setof public.orders
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    return query select o.* from public.orders o where o.order_id = p_job_id and o.user_id = auth.uid();
    if not found then
        perform public._refuse('FX404', 'not_found', 'order_id');
    end if;
end;
$$;
