-- jobengine.list: a page of jobs, newest first.
-- Transition: none
-- Returns: at most p_limit jobs older than p_before (an id; null: from the newest) that match every filter given.
-- Writes: nothing
-- Locks: nothing
-- Calls: _listed, _invalid
-- Raises: JE002
-- Concurrency: safe; pages are stable, as ids never change. With a status the page comes from the table of that
--   status, else from `job`; a filter that few rows match reads on until the page is full.
create or replace function jobengine.list(
    p_tenant_id uuid default null,
    p_status text default null,
    p_queue text default null,
    p_job_type text default null,
    p_unsettled boolean default false,
    p_before uuid default null,
    p_limit integer default 50
) returns setof jobengine.jobs
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_ids uuid[];
begin
    perform jobengine._invalid('limit', 'from 1 to 1000') where p_limit is null or p_limit not between 1 and 1000;
    v_ids := array(
        select l from jobengine._listed(
            p_tenant_id, p_status, p_queue, p_job_type, p_unsettled, p_before, p_limit) l);
    return query
    select v.*
    from unnest(v_ids) i
    cross join lateral (select w.* from jobengine.jobs w where w.job_id = i limit 1) v
    order by v.job_id desc;
end;
$$;
