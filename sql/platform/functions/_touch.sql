-- public._touch: trigger that notes when a row was changed last.
-- Returns: the row.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
create or replace function public._touch() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := public._now();
    return new;
end;
$$;
