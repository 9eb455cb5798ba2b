-- public._day: the day of a user at some time.
-- Returns: the date in the user's time zone.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._day(p_user_id uuid, p_at timestamptz) returns date
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select (p_at at time zone coalesce((select p.timezone from public.profiles p where p.id = p_user_id), 'UTC'))::date
$$;
