-- public.settle_deployment: carries the end of deploy, run and stop jobs to their deployments.
-- Returns: nothing.
-- Writes: ea_deployments
-- Locks: the deployments, by id; it waits for those that others hold.
-- Calls: _now, _uuid
-- Raises: JE010
-- Notes: A last-state parent: only the newest job of a deployment counts (last_job_id), whatever its type.
create or replace function public.settle_deployment(p_jobs jobengine.settled_job[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
begin
    perform d.id from public.ea_deployments d
    where d.id in (select public._uuid(j.meta ->> 'parent_id') from unnest(p_jobs) j)
    order by d.id
    for no key update;
    if exists (select from unnest(p_jobs) j
               where not exists (
                   select from public.ea_deployments d
                   where d.id = public._uuid(j.meta ->> 'parent_id') and d.user_id = j.tenant_id)) then
        raise exception using errcode = 'JE010', message = 'parent_gone';
    end if;
    with newest as (
        select distinct on (j.meta ->> 'parent_id')
               (j.meta ->> 'parent_id')::uuid as deployment_id, j.job_id, j.error_message, j.error_code,
               j.status as job_status,
               case when j.status = 'completed' then
                        case j.job_type when 'deploy' then 'deployed' when 'run' then 'running' else 'stopped' end
                    when j.status = 'pending' then
                        case j.job_type when 'deploy' then 'deploying' when 'stop' then 'stopping' end
                    else 'failed' end as status
        from unnest(p_jobs) j
        order by j.meta ->> 'parent_id', j.job_id desc
    )
    update public.ea_deployments d
    set status = coalesce(n.status, d.status),
        error_message = case when n.status = 'failed' then
            coalesce(n.error_message, n.error_code, n.job_status) end,
        deployed_at = case when n.status = 'deployed' then v_now else d.deployed_at end,
        started_at = case when n.status = 'running' then v_now else d.started_at end,
        stopped_at = case when n.status = 'stopped' then v_now else d.stopped_at end,
        last_job_id = n.job_id
    from newest n
    where d.id = n.deployment_id and (d.last_job_id is null or d.last_job_id <= n.job_id);
end;
$$;
