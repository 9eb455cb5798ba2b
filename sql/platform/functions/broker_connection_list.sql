-- public.broker_connection_list: the broker accounts of the user who calls.
-- Returns: the default one first, then by name.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid
-- Raises: nothing
create or replace function public.broker_connection_list() returns setof public.connections
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select c.*
    from public.connections c
    join public.broker_connections b on b.id = c.id
    where b.user_id = auth.uid()
    order by c.is_default desc, c.name, c.id
$$;
