-- public._job_created: tells the parent of a new job that its work is under way, and notes a new order.
-- Returns: nothing.
-- Writes: ea_versions, ea_deployments, tv_signals
-- Locks: the parent's row.
-- Calls: _order_events
-- Raises: nothing
-- Notes: From now on an older job of the same parent changes it no more (last_job_id).
create or replace function public._job_created(
    p_user_id uuid, p_job_id uuid, p_job_type text, p_input jsonb, p_meta jsonb
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    v_parent_id uuid := (p_meta ->> 'parent_id')::uuid;
begin
    if p_job_type = 'compile' then
        update public.ea_versions v
        set status = 'compiling', compilation_error = null, last_job_id = p_job_id
        where v.id = v_parent_id;
    elsif p_job_type in ('deploy', 'run', 'stop') then
        update public.ea_deployments d
        set status = case p_job_type when 'deploy' then 'deploying' when 'stop' then 'stopping' else d.status end,
            error_message = null,
            last_job_id = p_job_id
        where d.id = v_parent_id;
    elsif p_job_type in ('trade', 'close_position') then
        update public.tv_signals s set job_id = p_job_id where s.id = v_parent_id;
        perform public._order_events(array[(
            p_job_id, p_user_id, p_job_type, 'pending', null, p_input, null, null, null, p_meta, null
        )::jobengine.settled_job]);
    end if;
end;
$$;
