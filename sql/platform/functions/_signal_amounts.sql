-- public._signal_amounts: the columns of a signal whose types migration 0002 sets.
-- Returns: one row: volume and fill price.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: 0002 must be safe to run again, and PostgreSQL changes no type of a column that a view names itself.
create or replace function public._signal_amounts(p_signal public.tv_signals)
returns table (volume numeric, fill_price numeric)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select p_signal.volume, p_signal.fill_price
$$;
