-- public._caller: the role that calls.
-- Returns: the role that was taken with `set role`, else that of the session.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: Inside of a function with its owner's rights current_user is the owner, so it says nothing about the caller.
create or replace function public._caller() returns name
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(nullif(current_setting('role', true), 'none')::name, session_user)
$$;
