-- jobengine._new_jobs: checks the arguments of enqueue and fills in ids and defaults.
-- Transition: none
-- Returns: the jobs to write, in the order given.
-- Writes: nothing
-- Locks: nothing
-- Calls: _check_new_jobs, _job_ids, _invalid
-- Raises: JE001, JE002
-- Concurrency: safe. The first broken rule of the first broken item is named.
create or replace function jobengine._new_jobs(
    p_job_types text[], p_inputs jsonb[], p_queues text[], p_tenant_ids uuid[], p_priorities integer[],
    p_run_ats timestamptz[], p_delays double precision[], p_expires_ats timestamptz[],
    p_expires_ins double precision[], p_dedup_keys text[], p_live_keys text[], p_max_attempts integer[],
    p_lease_seconds double precision[], p_metas jsonb[], p_wakes boolean[], p_now timestamptz
) returns jobengine._new_job[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer := coalesce(cardinality(p_job_types), 0);
    v_jobs jobengine._new_job[];
    v_unknown record;
begin
    perform jobengine._invalid('job_types', 'from 1 to 1000000 items in a call')
    where v_count not between 1 and 1000000;
    perform jobengine._invalid(f.field, 'at most as many elements as job_types')
    from (values
        ('inputs', cardinality(p_inputs)), ('queues', cardinality(p_queues)),
        ('tenant_ids', cardinality(p_tenant_ids)), ('priorities', cardinality(p_priorities)),
        ('run_ats', cardinality(p_run_ats)), ('delays', cardinality(p_delays)),
        ('expires_ats', cardinality(p_expires_ats)), ('expires_ins', cardinality(p_expires_ins)),
        ('dedup_keys', cardinality(p_dedup_keys)), ('live_keys', cardinality(p_live_keys)),
        ('max_attempts', cardinality(p_max_attempts)), ('lease_seconds', cardinality(p_lease_seconds)),
        ('metas', cardinality(p_metas)), ('wakes', cardinality(p_wakes))) f (field, elements)
    where f.elements > v_count;

    -- Most calls give nothing but types and small inputs: not calling saves 0.3 of 9.6 microseconds a job in
    -- batches of 1,000, a tenth of a single enqueue.
    if num_nonnulls(p_queues, p_priorities, p_run_ats, p_delays, p_expires_ats, p_expires_ins, p_dedup_keys,
                    p_live_keys, p_max_attempts, p_lease_seconds, p_metas) > 0
        or (select max(pg_column_size(i.input)) from unnest(p_inputs) i (input)) > 1048576
    then
        perform jobengine._check_new_jobs(
            p_inputs, p_queues, p_priorities, p_run_ats, p_delays, p_expires_ats, p_expires_ins, p_dedup_keys,
            p_live_keys, p_max_attempts, p_lease_seconds, p_metas);
    end if;

    select array_agg((
               i.item, i.job_id, coalesce(i.tenant_id, '00000000-0000-0000-0000-000000000000'),
               coalesce(i.queue, 'default'), i.job_type, coalesce(i.priority, t.priority),
               coalesce(i.input, '{}'), coalesce(i.meta, '{}'), coalesce(i.max_attempts, t.max_attempts),
               coalesce(i.lease_seconds, t.lease_seconds), t.delivery, i.dedup_key, i.live_key,
               coalesce(i.wake, false),
               coalesce(i.run_at, p_now + make_interval(secs => coalesce(i.delay, 0))),
               coalesce(i.expires_at, p_now + make_interval(secs => i.expires_in))
           )::jobengine._new_job order by i.item)
    into v_jobs
    from unnest(jobengine._job_ids(p_now, v_count), p_job_types, p_inputs, p_queues, p_tenant_ids, p_priorities,
                p_run_ats, p_delays, p_expires_ats, p_expires_ins, p_dedup_keys, p_live_keys, p_max_attempts,
                p_lease_seconds, p_metas, p_wakes)
        with ordinality
        as i (job_id, job_type, input, queue, tenant_id, priority, run_at, delay, expires_at,
              expires_in, dedup_key, live_key, max_attempts, lease_seconds, meta, wake, item)
    join jobengine.job_type t on t.job_type = i.job_type;

    if coalesce(cardinality(v_jobs), 0) < v_count then
        select i.job_type, i.item into v_unknown
        from unnest(p_job_types) with ordinality i (job_type, item)
        where not exists (select from jobengine.job_type t where t.job_type = i.job_type)
        order by i.item limit 1;
        raise exception using errcode = 'JE001', message = format('unknown job type %L', v_unknown.job_type),
            detail = json_build_object('job_type', v_unknown.job_type, 'item', v_unknown.item)::text,
            hint = 'register it with jobengine.register_job_type';
    end if;
    return v_jobs;
end;
$$;
