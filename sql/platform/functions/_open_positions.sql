-- public._open_positions: positions that orders of ours opened and nothing is known to have closed.
-- Returns: one row per position with the volume that is left; of one strategy, or of all of the user's orders.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: From trade_events: what filled, less what closed the same position, by whatever means (an order, a stop, a
--   hand at the terminal). What was opened at the terminal by hand is none of ours.
create or replace function public._open_positions(p_user_id uuid, p_strategy_id uuid)
returns table (broker_connection_id uuid, position_id text, symbol text, side text, volume numeric)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select o.broker_connection_id, o.position_id, o.symbol, o.side, o.volume - coalesce(c.volume, 0)
    from (
        select e.broker_connection_id, coalesce(e.position_id, e.detail #>> '{output,ticket}') as position_id,
               max(e.symbol) as symbol, max(e.side) as side, sum(e.volume) as volume
        from public.trade_events e
        where e.user_id = p_user_id and (p_strategy_id is null or e.strategy_id = p_strategy_id)
          and e.event in ('filled', 'partially_filled') and e.broker_connection_id is not null
        group by 1, 2
    ) o
    cross join lateral (
        select sum(e.volume) as volume
        from public.trade_events e
        where e.broker_connection_id = o.broker_connection_id and e.position_id = o.position_id
          and e.event = 'closed'
    ) c
    where o.position_id is not null and o.volume > coalesce(c.volume, 0)
$$;
