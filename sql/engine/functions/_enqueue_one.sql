-- jobengine._enqueue_one: writes one job that carries no key, and wakes who sleeps for it.
-- Transition: none → pending
-- Returns: the job's id, or null where it may not be written, or perhaps not: _new_jobs then tells.
-- Writes: job, ready
-- Locks: nothing
-- Calls: _job_ids, _notify_ready
-- Raises: nothing
-- Concurrency: safe, nothing to wait for. Arguments that are null mean the defaults. One statement whose plan is
--   small: what a call of one job costs is the start of its plans, twice so after 50 ms without a call.
create or replace function jobengine._enqueue_one(
    p_job_type text, p_input jsonb, p_queue text, p_tenant_id uuid, p_wake boolean, p_now timestamptz
) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_job_id uuid := (jobengine._job_ids(p_now, 1))[1];
    v_queue text := coalesce(p_queue, 'default');
    v_tenant_id uuid := coalesce(p_tenant_id, '00000000-0000-0000-0000-000000000000');
begin
    -- Names that surely keep the rule; any other is judged where the rule is (_check_new_jobs).
    if pg_column_size(p_input) > 1048576 or v_queue !~ '^[a-z][a-z0-9._/-]{0,99}$' then
        return null;
    end if;
    with written as (
        insert into jobengine.job (
            job_id, tenant_id, queue, job_type, priority, input, meta,
            max_attempts, lease_seconds, delivery, wake, created_at)
        select v_job_id, v_tenant_id, v_queue, t.job_type, t.priority, coalesce(p_input, '{}'), '{}',
               t.max_attempts, t.lease_seconds, t.delivery, coalesce(p_wake, false), p_now
        from jobengine.job_type t where t.job_type = p_job_type
        returning priority
    )
    insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost)
    select v_job_id, v_tenant_id, v_queue, w.priority, p_now, 0, 0, 0 from written w;
    if not found then
        return null;
    end if;
    perform jobengine._notify_ready(array[v_tenant_id], array[v_queue], p_now);
    return v_job_id;
end;
$$;
