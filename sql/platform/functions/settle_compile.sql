-- public.settle_compile: carries the end of compile jobs to their versions and artifacts.
-- Returns: nothing.
-- Writes: ea_versions, ea_artifacts
-- Locks: the versions, by id; it waits for those that others hold.
-- Calls: _now, _uuid, _number, _integer
-- Raises: JE010
-- Notes: A last-state parent: only the newest job of a version counts (last_job_id). Artifacts are replaced by kind.
create or replace function public.settle_compile(p_jobs jobengine.settled_job[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
begin
    perform v.id from public.ea_versions v
    where v.id in (select public._uuid(j.meta ->> 'parent_id') from unnest(p_jobs) j)
    order by v.id
    for no key update;
    if exists (select from unnest(p_jobs) j
               where not exists (
                   select from public.ea_versions v
                   where v.id = public._uuid(j.meta ->> 'parent_id') and v.user_id = j.tenant_id)) then
        raise exception using errcode = 'JE010', message = 'parent_gone';
    end if;
    with newest as (
        select distinct on (j.meta ->> 'parent_id') (j.meta ->> 'parent_id')::uuid as version_id, j.*
        from unnest(p_jobs) j
        order by j.meta ->> 'parent_id', j.job_id desc
    ), changed as (
        update public.ea_versions v
        set status = case n.status when 'completed' then 'compiled' when 'pending' then 'compiling' else 'failed' end,
            compilation_error = case when n.status not in ('completed', 'pending') then
                coalesce(n.output ->> 'compilation_error', n.error_message, n.error_code, n.status) end,
            warnings = public._integer(n.output -> 'warnings'),
            compiled_at = case when n.status = 'completed' then v_now end,
            last_job_id = n.job_id
        from newest n
        where v.id = n.version_id and (v.last_job_id is null or v.last_job_id <= n.job_id)
        returning v.id, v.user_id, n.output
    )
    insert into public.ea_artifacts as a (version_id, user_id, kind, storage_path, sha256, size_bytes)
    select c.id, c.user_id, p.kind, p.path,
           case when p.kind = 'ex5' and c.output ->> 'sha256' ~ '^[0-9a-f]{64}$' then
               decode(c.output ->> 'sha256', 'hex') end,
           case when p.kind = 'ex5' then trunc(public._number(c.output -> 'size_bytes')) end
    from changed c
    cross join lateral (values
        ('ex5', coalesce(c.output ->> 'artifact_path', c.output ->> 'storage_path')),
        ('log', c.output ->> 'log_path')
    ) p (kind, path)
    where p.path is not null
    order by c.id, p.kind
    on conflict (version_id, kind) do update
    set storage_path = excluded.storage_path, sha256 = excluded.sha256, size_bytes = excluded.size_bytes;
end;
$$;
