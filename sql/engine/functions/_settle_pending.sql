-- jobengine._settle_pending: tells the parents that ended jobs wait again.
-- Transition: none
-- Returns: the jobs whose settle function refused.
-- Writes: nothing itself; the settle functions write the parents.
-- Locks: the parents, by id; the ended rows are locked by the caller.
-- Calls: _settle
-- Raises: nothing
-- Concurrency: safe under the row locks.
create or replace function jobengine._settle_pending(p_job_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type record;
    v_refused uuid[] := array[]::uuid[];
begin
    for v_type in
        select j.job_type, array_agg((
                   e.job_id, e.tenant_id, j.job_type, 'pending', e.settled_status, j.input, null,
                   null, null, j.meta, null)::jobengine.settled_job order by e.job_id) as jobs
        from unnest(p_job_ids) i
        cross join lateral (
            select w.job_id, w.tenant_id, w.settled_status from jobengine.ended w where w.job_id = i limit 1) e
        cross join lateral (
            select b.job_type, b.input, b.meta from jobengine.job b where b.job_id = i limit 1) j
        join jobengine.job_type t on t.job_type = j.job_type and t.settle_function is not null
        group by j.job_type
        order by j.job_type
    loop
        v_refused := v_refused || array(
            select u.job_id from unnest(jobengine._settle(v_type.job_type, v_type.jobs)) u);
    end loop;
    return v_refused;
end;
$$;
