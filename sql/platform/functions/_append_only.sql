-- public._append_only: trigger that refuses to change what was written.
-- Returns: nothing, it always raises.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX409
create or replace function public._append_only() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX409', 'append_only', tg_table_name::text, lower(tg_op) || ' is refused');
    return null;
end;
$$;
