-- public._now: the platform's clock, which is the engine's.
-- Returns: the time of the call.
-- Writes: nothing
-- Locks: nothing
-- Calls: jobengine._now
-- Raises: nothing
create or replace function public._now() returns timestamptz
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    select jobengine._now()
$$;
