-- jobengine._check_retry: checks the arguments of retry.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _invalid
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._check_retry(p_job_ids uuid[], p_run_at timestamptz, p_expires_at timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine._invalid('job_ids', 'from 1 to 10000 ids, none null')
    where coalesce(cardinality(p_job_ids), 0) not between 1 and 10000 or array_position(p_job_ids, null) is not null;
    perform jobengine._invalid('run_at', 'a finite time') where not isfinite(p_run_at);
    perform jobengine._invalid('expires_at', 'a finite time') where not isfinite(p_expires_at);
end;
$$;
