-- jobengine._lock_unknown: locks those of these jobs that ended as unknown, which a late report may resolve.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: the ended rows, sorted by id (it waits for those that others hold).
-- Calls: nothing
-- Raises: nothing
-- Concurrency: finish calls it before it settles anything, as ended rows come before parents in the order of
--   locks.
create or replace function jobengine._lock_unknown(p_job_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from jobengine.ended e
    where e.job_id = any (array(
        select w.job_id
        from unnest(p_job_ids) i
        cross join lateral (select u.job_id, u.status from jobengine.ended u where u.job_id = i limit 1) w
        where w.status = 'unknown'))
    order by e.job_id
    for update;
end;
$$;
