-- jobengine.prune: removes jobs that ended long ago, with their results and failures.
-- Transition: completed | failed | cancelled | expired → none
-- Returns: one row: how many were removed, the last id looked at, and `more`: go on from there with p_after.
-- Writes: ended, failure, job
-- Locks: the removed rows, skipping those that others hold.
-- Calls: _now, _job_id_floor, _invalid
-- Raises: JE002
-- Concurrency: safe beside everything. Walks the ids, which are in order of time, p_limit ended jobs per call.
--   Unknown jobs and unsettled ones stay, whatever their age. A dedup key is free again afterwards.
create or replace function jobengine.prune(
    p_keep_seconds double precision, p_after uuid default null, p_limit integer default 10000
) returns table (pruned integer, last_job_id uuid, more boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_until timestamptz;
    v_seen integer;
    v_gone uuid[];
begin
    perform jobengine._invalid('keep_seconds', 'from 0 to 315360000')
    where p_keep_seconds is null or p_keep_seconds not between 0 and 315360000;
    perform jobengine._invalid('limit', 'from 1 to 100000') where p_limit is null or p_limit not between 1 and 100000;
    v_until := jobengine._now() - make_interval(secs => p_keep_seconds);
    select array_agg(s.job_id order by s.job_id) filter (where s.prunable), count(*)::integer, max(s.job_id::text)::uuid
    into v_gone, v_seen, last_job_id
    from (
        select e.job_id, e.finished_at < v_until and e.status <> 'unknown' and e.settle_at is null as prunable
        from jobengine.ended e
        where e.job_id > coalesce(p_after, '00000000-0000-0000-0000-000000000000')
          and e.job_id < jobengine._job_id_floor(v_until + interval '1 ms')
        order by e.job_id
        limit p_limit
        for update skip locked
    ) s;
    delete from jobengine.ended e where e.job_id = any (v_gone);
    delete from jobengine.failure f where f.job_id = any (v_gone);
    delete from jobengine.job j where j.job_id = any (v_gone);
    pruned := coalesce(cardinality(v_gone), 0);
    more := v_seen >= p_limit;
    return next;
end;
$$;
