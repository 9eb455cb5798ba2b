-- jobengine._cancel_jobs: the jobs that a cancel means.
-- Transition: none
-- Returns: their ids, sorted.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: a look only; cancel then meets each job where it is.
create or replace function jobengine._cancel_jobs(
    p_job_ids uuid[], p_tenant_id uuid, p_queue text, p_job_type text, p_limit integer
) returns uuid[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct c.job_id order by c.job_id), '{}')
    from (
        select i as job_id from unnest(p_job_ids) i where i is not null
        union all
        (select w.job_id
         from (
            select r.job_id from jobengine.ready r
            where r.tenant_id = p_tenant_id and r.queue = p_queue
            union all
            select l.job_id from jobengine.lease l
            where l.tenant_id = p_tenant_id and l.queue = p_queue and l.cancel_reason is null and not l.lapsed
         ) w
         join jobengine.job j on j.job_id = w.job_id and (p_job_type is null or j.job_type = p_job_type)
         where p_job_ids is null
         order by w.job_id
         limit p_limit)
    ) c
$$;
