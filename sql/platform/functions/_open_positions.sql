-- public._open_positions: positions that are on record as opened, and not as closed.
-- Returns: one row per position with the volume that is left; of one strategy, or all of the user's.
-- Writes: nothing
-- Locks: nothing
-- Calls: _told_twice
-- Raises: nothing
-- Notes: From trade_events: what filled, less what closed the same position, by whatever means (an order, a stop, a
--   hand at the terminal). Of an order the agent's answer counts, which has the volume of all its deals; without one,
--   the deals. On a netting account what is sold is less of what was bought, and may become more. A position that a
--   terminal did not find is gone.
create or replace function public._open_positions(p_user_id uuid, p_strategy_id uuid)
returns table (broker_connection_id uuid, position_id text, symbol text, side text, volume numeric)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with opened as (
        select e.broker_connection_id, coalesce(e.position_id, e.detail #>> '{output,ticket}') as position_id, e.job_id,
               max(e.symbol) as symbol, max(e.side) as side,
               coalesce(max(e.volume) filter (where e.detail ? 'output'), sum(e.volume)) as volume
        from public.trade_events e
        where e.user_id = p_user_id and (p_strategy_id is null or e.strategy_id = p_strategy_id)
          and e.event in ('filled', 'partially_filled') and not public._told_twice(e)
        group by 1, 2, 3
    ), held as (
        select o.broker_connection_id, o.position_id, max(o.symbol) as symbol,
               sum(case o.side when 'sell' then -o.volume else o.volume end) as bought
        from opened o
        where o.broker_connection_id is not null and o.position_id is not null
        group by 1, 2
    )
    select h.broker_connection_id, h.position_id, h.symbol, case when h.bought < 0 then 'sell' else 'buy' end,
           abs(h.bought) - coalesce(c.volume, 0)
    from held h
    cross join lateral (
        select sum(j.volume) as volume, bool_or(j.gone) as gone
        from (
            select coalesce(max(e.volume) filter (where e.event = 'closed' and e.detail ? 'output'),
                            sum(e.volume) filter (where e.event = 'closed')) as volume,
                   bool_or(e.detail ->> 'error_code' = 'position_not_found') as gone
            from public.trade_events e
            where e.broker_connection_id = h.broker_connection_id and e.position_id = h.position_id
              and e.event in ('closed', 'rejected') and not public._told_twice(e)
            group by e.job_id
        ) j
    ) c
    where abs(h.bought) > coalesce(c.volume, 0) and c.gone is not true
$$;
