-- jobengine._read_committed: refuses a transaction whose snapshot is older than the call.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: JE004
-- Concurrency: functions that look for a job in one table after the other need each statement to see what has
--   been committed until then.
create or replace function jobengine._read_committed() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception using errcode = 'JE004', message = 'this call needs isolation level READ COMMITTED',
            detail = json_build_object('isolation', current_setting('transaction_isolation'))::text;
    end if;
end;
$$;
