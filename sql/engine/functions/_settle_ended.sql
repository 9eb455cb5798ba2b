-- jobengine._settle_ended: settles jobs that have ended before, at their present status.
-- Transition: none
-- Returns: the ids whose settle failed, or an empty array.
-- Writes: ended
-- Locks: the parents, by id; its ended rows are locked by the caller, sorted by id.
-- Calls: _settle, _backoff
-- Raises: nothing
-- Concurrency: safe under the row locks. settled_status tells the settle function what it saw last, so that a
--   sum can take the former end back.
create or replace function jobengine._settle_ended(p_job_ids uuid[], p_now timestamptz) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type record;
    v_unsettled jobengine._unsettled[];
    v_all uuid[] := array[]::uuid[];
begin
    for v_type in
        select j.job_type, array_agg((
                   e.job_id, e.tenant_id, j.job_type, e.status, e.settled_status, j.input, e.output,
                   e.error_code, e.error_message, j.meta, e.agent_id)::jobengine.settled_job
                   order by e.job_id) as jobs
        from unnest(p_job_ids) i
        cross join lateral (
            select w.job_id, w.tenant_id, w.status, w.settled_status, w.output, w.error_code, w.error_message,
                   w.agent_id
            from jobengine.ended w where w.job_id = i limit 1
        ) e
        cross join lateral (
            select b.job_type, b.input, b.meta from jobengine.job b where b.job_id = i limit 1) j
        join jobengine.job_type t on t.job_type = j.job_type and t.settle_function is not null
        group by j.job_type
        order by j.job_type
    loop
        v_unsettled := jobengine._settle(v_type.job_type, v_type.jobs);
        update jobengine.ended e
        set settled_status = case when u.job_id is null then e.status else e.settled_status end,
            settle_error = u.error,
            settle_tries = case when u.job_id is null then 0 else e.settle_tries + 1 end,
            settle_at = case when u.retry then p_now + jobengine._backoff(e.settle_tries + 1, 1, 3600) end
        from unnest(v_type.jobs) s
        left join unnest(v_unsettled) u on u.job_id = s.job_id
        where e.job_id between s.job_id and s.job_id;    -- as in finish
        v_all := v_all || array(select u.job_id from unnest(v_unsettled) u);
    end loop;
    return v_all;
end;
$$;
