-- public._in_flight: how many trade jobs of a user wait or are held.
-- Returns: the number.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: The planner's choices are pinned as in job_list.
create or replace function public._in_flight(p_user_id uuid) returns bigint
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
    select count(*)
    from (
        select r.job_id from jobengine.ready r where r.tenant_id = p_user_id
        union all
        select l.job_id from jobengine.lease l where l.tenant_id = p_user_id and not l.lapsed
    ) w
    cross join lateral (select b.job_type from jobengine.job b where b.job_id = w.job_id limit 1) j
    where j.job_type = 'trade'
$$;
