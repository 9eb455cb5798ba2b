-- jobengine._strayed: the verdict on a call whose lease is not there.
-- Transition: none
-- Returns: `stale_lease` where the job exists, else `not_found`.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: safe.
create or replace function jobengine._strayed(p_job_id uuid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when exists (select from jobengine.job j where j.job_id = p_job_id)
        then 'stale_lease' else 'not_found' end
$$;
