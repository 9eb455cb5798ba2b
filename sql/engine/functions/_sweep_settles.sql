-- jobengine._sweep_settles: settles again the ended jobs whose settle failed and is due.
-- Transition: none
-- Returns: how many were tried and how many of them are settled now.
-- Writes: nothing
-- Locks: the ended rows, skipping those that others hold; then the parents.
-- Calls: _settle_ended
-- Raises: nothing
-- Concurrency: safe. Jobs of a type that has no settle function any more stay as they are: it may get one again.
create or replace function jobengine._sweep_settles(
    p_limit integer, p_now timestamptz, out tried integer, out settled integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_due uuid[];
begin
    v_due := array(
        select e.job_id from jobengine.ended e
        where e.settle_at <= p_now and (    -- not exists: a join may read all jobs for it
            select t.settle_function is not null
            from jobengine.job j
            join jobengine.job_type t on t.job_type = j.job_type
            where j.job_id = e.job_id)
        order by e.settle_at
        limit p_limit
        for update skip locked);
    tried := cardinality(v_due);
    settled := tried - cardinality(jobengine._settle_ended(v_due, p_now));
end;
$$;
