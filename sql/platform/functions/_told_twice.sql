-- public._told_twice: says whether a deal of no known order is one that an order's own event tells of.
-- Returns: true where an order of the same position names the deal; else false.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: So it is where a broker does not keep comments: the report of the deal does not know whose it is.
create or replace function public._told_twice(p_event public.trade_events) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select p_event.job_id is null and exists (
        select from public.trade_events e
        where e.broker_connection_id = p_event.broker_connection_id and e.position_id = p_event.position_id
          and e.job_id is not null and e.event in ('filled', 'partially_filled', 'closed')
          and e.detail #>> '{output,deal_id}' = p_event.deal_id)
$$;
