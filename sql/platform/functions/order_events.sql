-- public.order_events: what happened to an order of the user who calls.
-- Returns: its events, oldest first.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX404
create or replace function public.order_events(p_job_id uuid) returns setof public.trade_events
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select e.* from public.trade_events e where e.job_id = p_job_id and e.user_id = auth.uid() order by e.id;
    if not found then
        perform public._refuse('FX404', 'not_found', 'order_id');
    end if;
end;
$$;
