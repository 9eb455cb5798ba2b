-- public._order_page: the ids of the orders of the user who calls, newest first.
-- Returns: those older than p_before (null: all), of a client's own number if one is given.
-- Writes: nothing
-- Locks: nothing
-- Calls: _user
-- Raises: FX404
-- Notes: Every order has a `requested` event, and those of a user have an index. An order that was retried has two.
create or replace function public._order_page(p_client_order_id text, p_before uuid) returns setof uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    return query
    select distinct e.job_id
    from public.trade_events e
    where e.user_id = v_user_id and e.event = 'requested'
      and (p_client_order_id is null or e.detail ->> 'client_order_id' = p_client_order_id)
      and (p_before is null or e.job_id < p_before)
    order by e.job_id desc;
end;
$$;
