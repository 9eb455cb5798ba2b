-- jobengine._now: the engine's one clock.
-- Transition: none
-- Returns: the time of the call, which moves on inside a transaction.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe. Every function reads it once and passes the value on, so that one call has one time.
--   Tests replace it in their own database; nothing else in the engine may read a clock.
create or replace function jobengine._now() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select clock_timestamp()
$$;
