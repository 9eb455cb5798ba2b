-- jobengine.count: how many jobs match.
-- Transition: none
-- Returns: the number of jobs that match every filter given, counted up to p_cap (null: exactly).
-- Writes: nothing
-- Locks: nothing
-- Calls: _listed, _invalid
-- Raises: JE002
-- Concurrency: safe. The cap bounds the work: an exact count of a large table reads all of it.
create or replace function jobengine.count(
    p_tenant_id uuid default null,
    p_status text default null,
    p_queue text default null,
    p_job_type text default null,
    p_unsettled boolean default false,
    p_cap integer default 10000
) returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobengine._invalid('cap', 'from 1') where p_cap < 1;
    return (
        select count(*)
        from jobengine._listed(p_tenant_id, p_status, p_queue, p_job_type, p_unsettled, null, p_cap));
end;
$$;
