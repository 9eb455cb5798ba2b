-- public.job_list: a page of the jobs of the user who calls, newest first.
-- Returns: at most p_limit jobs older than p_before (an id; null: from the newest) that match the filters.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX422
create or replace function public.job_list(
    p_status text default null, p_job_type text default null, p_before uuid default null, p_limit integer default 50
) returns setof public.jobs
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    return query
    select j.*
    from public.jobs j
    where j.user_id = auth.uid()
      and (p_status is null or j.status = p_status)
      and (p_job_type is null or j.job_type = p_job_type)
      and (p_before is null or j.id < p_before)
    order by j.id desc
    limit p_limit;
end;
$$;
