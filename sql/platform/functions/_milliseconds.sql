-- public._milliseconds: how long something took.
-- Returns: the milliseconds between the two times, with three decimals; null where one is not known.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._milliseconds(p_from timestamptz, p_to timestamptz) returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select round(extract(epoch from p_to - p_from)::numeric * 1000, 3)
$$;
