-- jobengine._listed: the ids of a page of jobs, from the table that the status names.
-- Transition: none
-- Returns: ids, newest first.
-- Writes: nothing
-- Locks: nothing
-- Calls: _invalid
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._listed(
    p_tenant_id uuid, p_status text, p_queue text, p_job_type text, p_unsettled boolean, p_before uuid, p_limit integer
) returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_before uuid := coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
begin
    perform jobengine._invalid('status', 'a status of docs/states.md')
    where p_status not in ('pending', 'claimed', 'running', 'completed', 'failed', 'cancelled', 'expired', 'unknown');
    if p_unsettled then
        return query
        select e.job_id from jobengine.ended e
        join jobengine.job j on j.job_id = e.job_id
        where (e.settle_at is not null or e.settle_error is not null) and e.job_id < v_before
          and (p_tenant_id is null or e.tenant_id = p_tenant_id) and (p_status is null or e.status = p_status)
          and (p_queue is null or j.queue = p_queue) and (p_job_type is null or j.job_type = p_job_type)
        order by e.job_id desc limit p_limit;
    elsif p_status is null then
        return query
        select j.job_id from jobengine.job j
        where j.job_id < v_before and (p_tenant_id is null or j.tenant_id = p_tenant_id)
          and (p_queue is null or j.queue = p_queue) and (p_job_type is null or j.job_type = p_job_type)
        order by j.job_id desc limit p_limit;
    elsif p_status = 'pending' then
        return query
        select r.job_id from jobengine.ready r
        join jobengine.job j on j.job_id = r.job_id
        where r.job_id < v_before and (p_tenant_id is null or r.tenant_id = p_tenant_id)
          and (p_queue is null or r.queue = p_queue) and (p_job_type is null or j.job_type = p_job_type)
        order by r.job_id desc limit p_limit;
    elsif p_status in ('claimed', 'running') then
        return query
        select l.job_id from jobengine.lease l
        where l.job_id < v_before and (p_tenant_id is null or l.tenant_id = p_tenant_id)
          and not l.lapsed and (l.started_at is not null) = (p_status = 'running')
          and (p_queue is null or l.queue = p_queue) and (p_job_type is null or l.job_type = p_job_type)
        order by l.job_id desc limit p_limit;
    else
        return query
        select w.job_id
        from (
            select e.job_id from jobengine.ended e
            where e.status = p_status and e.job_id < v_before and (p_tenant_id is null or e.tenant_id = p_tenant_id)
            union all
            select l.job_id from jobengine.lease l
            where p_status = 'expired' and l.lapsed
              and l.job_id < v_before and (p_tenant_id is null or l.tenant_id = p_tenant_id)
        ) w
        join jobengine.job j on j.job_id = w.job_id
        where (p_queue is null or j.queue = p_queue) and (p_job_type is null or j.job_type = p_job_type)
        order by w.job_id desc limit p_limit;
    end if;
end;
$$;
