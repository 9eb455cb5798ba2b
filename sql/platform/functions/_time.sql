-- public._time: reads a time that an agent sent.
-- Returns: the time, or null where the text is none in RFC 3339.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._time(p_text text) returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO'
as $$
begin
    return case when p_text ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$' then
        p_text::timestamptz end;
exception when datetime_field_overflow or invalid_datetime_format or invalid_time_zone_displacement_value then
    return null;
end;
$$;
