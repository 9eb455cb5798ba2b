-- public._check_parent: refuses a parent that a job of this type does not have, or that is not the user's.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX404, FX422
create or replace function public._check_parent(
    p_user_id uuid, p_job_type text, p_parent_type text, p_parent_id uuid
) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := case when p_job_type = 'compile' then 'ea_version'
                        when p_job_type in ('deploy', 'run', 'stop') then 'ea_deployment'
                        when p_job_type in ('trade', 'close_position') then 'tv_signal' end;
begin
    perform public._refuse('FX422', 'invalid', 'parent_id', 'together with parent_type')
    where (p_parent_id is null) <> (p_parent_type is null);
    perform public._refuse('FX422', 'invalid', 'parent_type',
        case when v_type is null then 'a job of this type has no parent' else 'of this type: ' || v_type end)
    where p_parent_type is distinct from v_type
      and (p_parent_type is not null or v_type in ('ea_version', 'ea_deployment'));
    perform public._refuse('FX404', 'not_found', 'parent_id')
    where p_parent_id is not null
      and not exists (select from public.ea_versions v
                      where v_type = 'ea_version' and v.id = p_parent_id and v.user_id = p_user_id)
      and not exists (select from public.ea_deployments d
                      where v_type = 'ea_deployment' and d.id = p_parent_id and d.user_id = p_user_id)
      and not exists (select from public.tv_signals s
                      where v_type = 'tv_signal' and s.id = p_parent_id and s.user_id = p_user_id);
end;
$$;
