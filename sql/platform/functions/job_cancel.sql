-- public.job_cancel: stops a job of the user who calls.
-- Returns: one row: ok with cancelled, or with running (its agent is asked to stop); duplicate; conflict; busy.
-- Writes: nothing
-- Locks: what jobengine.cancel locks.
-- Calls: _user, _refuse, jobengine.cancel
-- Raises: FX404, JE002, JE004
create or replace function public.job_cancel(p_job_id uuid, p_reason text default null)
returns table (job_id uuid, verdict text, status text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    return query
    select c.job_id, c.verdict, c.status
    from jobengine.cancel(p_job_ids => array[p_job_id], p_reason => p_reason, p_tenant_id => v_user_id) c
    where c.verdict <> 'not_found';
    if not found then
        perform public._refuse('FX404', 'not_found', 'job_id');
    end if;
end;
$$;
