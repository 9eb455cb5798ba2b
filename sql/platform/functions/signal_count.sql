-- public.signal_count: how many signals of the user who calls there are.
-- Returns: their number, of a strategy and a status if they are named.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid
-- Raises: nothing
create or replace function public.signal_count(p_strategy_id uuid default null, p_status text default null)
returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select count(*)
    from public.tv_signals s
    where s.user_id = auth.uid() and (p_strategy_id is null or s.strategy_id = p_strategy_id)
      and (p_status is null or s.status = p_status)
$$;
