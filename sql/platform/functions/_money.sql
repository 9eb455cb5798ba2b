-- public._money: reads an amount of money that an agent sent, as a JSON number or as text.
-- Returns: the amount, or null where there is none; currencies of small units need more digits than _number has.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._money(p_value jsonb) returns numeric
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when v.text ~ '^-?[0-9]{1,16}(\.[0-9]{1,30})?([eE]-[0-9]{1,2})?$' then v.text::numeric end
    from (select p_value #>> '{}') v (text)
$$;
