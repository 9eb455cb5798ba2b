-- public._job_page: the ids of a page of jobs of the user who calls, newest first.
-- Returns: at most p_limit ids, in order.
-- Writes: nothing
-- Locks: nothing
-- Calls: _user, jobengine.list
-- Raises: FX404, JE002
-- Notes: The engine's list drives from the table of the status asked for, which a query over the view cannot.
create or replace function public._job_page(p_status text, p_job_type text, p_before uuid, p_limit integer)
returns uuid[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    return array(
        select l.job_id
        from jobengine.list(
            p_tenant_id => v_user_id, p_status => p_status, p_job_type => p_job_type, p_before => p_before,
            p_limit => p_limit) l
        order by l.job_id desc);
end;
$$;
