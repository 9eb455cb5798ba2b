-- public._uuid: reads an id.
-- Returns: the id, or null where the text is none.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._uuid(p_text text) returns uuid
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select case when lower(p_text) ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end
$$;
