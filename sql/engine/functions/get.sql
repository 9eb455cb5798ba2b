-- jobengine.get: jobs with where they stand now.
-- Transition: none
-- Returns: the jobs that exist, by id; none of another tenant where p_tenant_id is given.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Concurrency: one statement, so one snapshot, in which a job in flight is still where it was: it is never
--   missed and never seen twice, at any isolation level. One lateral probe per id: a plan of a join, made when
--   the tables were small, reads all of them when they have grown (1.3 million rows for 10 jobs of 200,000).
--   The plan is kept: it has one shape, and to make it anew took 0.33 of the 0.43 ms of a call.
create or replace function jobengine.get(p_job_ids uuid[], p_tenant_id uuid default null)
returns setof jobengine.jobs
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
    select v.*
    from (select distinct u from unnest(p_job_ids) u) i (job_id)
    cross join lateral (select w.* from jobengine.jobs w where w.job_id = i.job_id limit 1) v
    where p_tenant_id is null or v.tenant_id = p_tenant_id
    order by v.job_id
$$;
