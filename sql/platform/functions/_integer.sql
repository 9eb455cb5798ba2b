-- public._integer: reads a whole number that an agent sent.
-- Returns: the number without its fraction, or null where there is none that fits.
-- Writes: nothing
-- Locks: nothing
-- Calls: _number
-- Raises: nothing
create or replace function public._integer(p_value jsonb) returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when abs(n.number) < 2147483647 then trunc(n.number)::integer end
    from (select public._number(p_value)) n (number)
$$;
