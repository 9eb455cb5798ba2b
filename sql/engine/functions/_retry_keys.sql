-- jobengine._retry_keys: takes the live keys of jobs that are to wait again.
-- Transition: none
-- Returns: the jobs that cannot have theirs, because another live job has it.
-- Writes: live_key
-- Locks: its keys, sorted by key.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: waits for a call that is about to take the same key.
create or replace function jobengine._retry_keys(p_job_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_taken uuid[];
begin
    with taken as (
        insert into jobengine.live_key as k (tenant_id, live_key, job_id)
        select j.tenant_id, j.live_key, j.job_id
        from jobengine.job j
        where j.job_id = any (p_job_ids) and j.live_key is not null
        order by j.tenant_id, j.live_key, j.job_id
        on conflict (tenant_id, live_key) do nothing
        returning k.job_id
    )
    select coalesce(array_agg(t.job_id), '{}') into v_taken from taken t;
    return array(
        select j.job_id from jobengine.job j
        where j.job_id = any (p_job_ids) and j.live_key is not null and j.job_id <> all (v_taken));
end;
$$;
