-- public.job_list: a page of the jobs of the user who calls, newest first.
-- Returns: at most p_limit jobs older than p_before (an id; null: from the newest) that match the filters.
-- Writes: nothing
-- Locks: nothing
-- Calls: _job_page, _refuse
-- Raises: FX404, FX422, JE002
-- Notes: The rows are read with the caller's rights. One probe per id, with the planner's choices pinned as the
--   engine does: the engine's tables are empty when they are analyzed and full when it matters.
create or replace function public.job_list(
    p_status text default null, p_job_type text default null, p_before uuid default null, p_limit integer default 50
) returns setof public.jobs
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_ids uuid[];
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    v_ids := public._job_page(p_status, p_job_type, p_before, p_limit);
    return query
    select j.*
    from unnest(v_ids) i
    cross join lateral (select w.* from public.jobs w where w.id = i limit 1) j
    order by j.id desc;
end;
$$;
