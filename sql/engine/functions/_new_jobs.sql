-- jobengine._new_jobs: checks the arguments of enqueue and fills in ids and defaults.
-- Transition: none
-- Returns: the jobs to write, in the order given.
-- Writes: nothing
-- Locks: nothing
-- Calls: _job_ids, _invalid
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

    perform jobengine._invalid(r.field, r.rule, r.item::integer)
    from unnest(p_inputs, p_queues, p_priorities, p_run_ats, p_delays, p_expires_ats, p_expires_ins,
                p_dedup_keys, p_live_keys, p_max_attempts, p_lease_seconds, p_metas) with ordinality
        as i (input, queue, priority, run_at, delay, expires_at, expires_in,
              dedup_key, live_key, max_attempts, lease_seconds, meta, item)
    cross join lateral (
        select case
            when pg_column_size(i.input) > 1048576 then array['input', 'at most 1 MiB']
            when pg_column_size(i.meta) > 1048576 then array['meta', 'at most 1 MiB']
            when jsonb_typeof(i.meta) <> 'object' then array['meta', 'a JSON object']
            when i.queue !~ '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$' then
                array['queue', '1 to 128 of A-Z a-z 0-9 . _ / : @ -, a letter or digit first']
            when i.priority not between 0 and 9 then array['priority', 'from 0 (first) to 9']
            when i.run_at is not null and i.delay is not null then array['delay', 'not together with run_at']
            when not isfinite(i.run_at) then array['run_at', 'a finite time']
            when i.delay not between 0 and 315360000 then array['delay', 'seconds from 0 to 315360000']
            when i.expires_at is not null and i.expires_in is not null then
                array['expires_in', 'not together with expires_at']
            when not isfinite(i.expires_at) then array['expires_at', 'a finite time']
            when i.expires_in <= 0 or i.expires_in > 315360000 then
                array['expires_in', 'seconds above 0, up to 315360000']
            when i.dedup_key is not null and i.live_key is not null then
                array['live_key', 'not together with dedup_key']
            when length(i.dedup_key) not between 1 and 500 then array['dedup_key', '1 to 500 characters']
            when length(i.live_key) not between 1 and 500 then array['live_key', '1 to 500 characters']
            when i.max_attempts not between 1 and 1000 then array['max_attempts', 'from 1 to 1000']
            when i.lease_seconds not between 0.1 and 86400 then array['lease_seconds', 'from 0.1 to 86400']
        end) c (broken)
    cross join lateral (values (c.broken[1], c.broken[2], i.item)) r (field, rule, item)
    where c.broken is not null
    order by r.item limit 1;

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
