-- jobengine._rouse: says that a process does not sleep any more.
-- Transition: none
-- Returns: nothing.
-- Writes: waiting
-- Locks: the rows of this listener.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe; a process that dies without it is forgotten when its time is up.
create or replace function jobengine._rouse(p_listener_id uuid) returns void
language sql
security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from jobengine.waiting where listener_id = p_listener_id
$$;
