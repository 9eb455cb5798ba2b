-- jobengine.cancel: stops jobs, by id or all those of a tenant's queue (and type).
-- Transition: pending | claimed → cancelled
-- Returns: per job its id, verdict and status: `ok` with `cancelled`, or with `running` (its holder is asked to
--   stop and its report still counts); `duplicate` (cancelled before); `conflict` (ended another way);
--   `not_found`; `busy` (kept moving; call again).
-- Writes: nothing
-- Locks: ready, then lease rows, each sorted by id; it waits for those that others hold.
-- Calls: _now, _invalid, _read_committed, _cancel_jobs, _cancel_round, _end
-- Raises: JE002, JE004
-- Concurrency: a job may move from one table to the next while this looks, so it looks in separate statements,
--   3 rounds. With p_job_ids, p_tenant_id narrows; without, tenant and queue are needed, at most p_limit jobs
--   are stopped in a call, oldest first, and those that already run and were asked before are left out.
create or replace function jobengine.cancel(
    p_job_ids uuid[] default null,
    p_reason text default null,
    p_tenant_id uuid default null,
    p_queue text default null,
    p_job_type text default null,
    p_limit integer default 1000
) returns table (job_id uuid, verdict text, status text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_left uuid[];
    v_done jobengine._stopped[];
    v_endings jobengine._ending[] := array[]::jobengine._ending[];
    v_round jobengine._ending[];
begin
    perform jobengine._read_committed();
    perform jobengine._invalid('reason', 'at most 1000 characters') where length(p_reason) > 1000;
    perform jobengine._invalid('job_ids', 'ids, or tenant_id and queue')
    where p_job_ids is null and (p_tenant_id is null or p_queue is null);
    perform jobengine._invalid('limit', 'from 1 to 10000') where p_limit is null or p_limit not between 1 and 10000;
    v_left := jobengine._cancel_jobs(p_job_ids, p_tenant_id, p_queue, p_job_type, p_limit);
    for i in 1 .. 3 loop
        exit when cardinality(v_left) = 0;
        select c.endings, c.stopped into v_round, v_done
        from jobengine._cancel_round(v_left, p_tenant_id, coalesce(p_reason, 'cancelled'), i = 3) c;
        v_endings := v_endings || v_round;
        return query select s.job_id, s.verdict, s.status from unnest(v_done) s;
        v_left := array(
            select l from unnest(v_left) l where l not in (select s.job_id from unnest(v_done) s) order by 1);
    end loop;
    if cardinality(v_endings) > 0 then
        perform jobengine._end(array(select e from unnest(v_endings) e order by e.job_id), v_now);
    end if;
end;
$$;
