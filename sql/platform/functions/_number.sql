-- public._number: reads a number that an agent sent, as a JSON number or as text.
-- Returns: the number, or null where there is none that a price, a volume or an amount could be.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._number(p_value jsonb) returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when v.text ~ '^-?[0-9]{1,11}(\.[0-9]{1,30})?([eE]-[0-9]{1,2})?$' then v.text::numeric end
    from (select p_value #>> '{}') v (text)
$$;
