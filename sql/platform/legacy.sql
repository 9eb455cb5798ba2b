-- Puts the open rows of a table jobs of before us (0002 has renamed it) into the engine, each once, in their order.
-- A row that an agent holds is taken over only if it can be done again; an order that was being sent stays behind for
-- a person to look at. One that waited for more than five minutes expires: nobody wants last month's order now.
do $$
declare
    v_row record;
begin
    if to_regclass('public.jobs_legacy') is null then
        return;
    end if;
    for v_row in
        select l.ctid, to_jsonb(l) as old, t.delivery
        from public.jobs_legacy l
        join jobengine.job_type t on t.job_type = to_jsonb(l) ->> 'job_type'
        where l.enqueued_job_id is null
          and (to_jsonb(l) ->> 'status' = 'pending'
               or to_jsonb(l) ->> 'status' in ('claimed', 'running') and t.delivery = 'at_least_once')
        order by (to_jsonb(l) ->> 'created_at')::timestamptz, to_jsonb(l) ->> 'id'
        for update of l
    loop
        update public.jobs_legacy l
        set enqueued_job_id = (
            select e.job_id
            from jobengine.enqueue(
                p_job_types => array[v_row.old ->> 'job_type'],
                p_inputs => array[coalesce(nullif(v_row.old -> 'input_data', 'null'), '{}')],
                p_tenant_ids => array[(v_row.old ->> 'user_id')::uuid],
                p_queues => array[coalesce(
                    'agent/' || (v_row.old ->> 'agent_id'), 'broker/' || (v_row.old ->> 'broker_connection_id'),
                    'any')],
                p_metas => array[jsonb_strip_nulls(jsonb_build_object(
                    'broker_connection_id', v_row.old -> 'broker_connection_id', 'parent_id', v_row.old -> 'parent_id',
                    'parent_type', v_row.old -> 'parent_type', 'legacy_id', v_row.old -> 'id'))],
                p_expires_ats => array[coalesce(
                    (v_row.old ->> 'expires_at')::timestamptz,
                    case when v_row.delivery = 'at_most_once' then
                        (v_row.old ->> 'created_at')::timestamptz + interval '5 minutes' end)]) e)
        where l.ctid = v_row.ctid;
    end loop;
end;
$$;
