-- public._order_put: puts an order in for an agent, with its key.
-- Returns: the job's id.
-- Writes: idempotency_key
-- Locks: what jobengine.enqueue locks; up to two forgotten keys, skipping those that others hold.
-- Calls: _job_created, _now, jobengine.enqueue
-- Raises: JE002
-- Notes: The key, the job and its first event are one transaction. Each new key takes up to two away that are older
--   than 24 hours.
create or replace function public._order_put(
    p_user_id uuid, p_job_type text, p_input jsonb, p_agent_id uuid, p_broker_connection_id uuid,
    p_client_order_id text, p_key text, p_request_hash bytea, p_expires_in double precision
) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
    v_expires_in double precision := nullif(coalesce(p_expires_in, 60), 0);
    v_meta jsonb := jsonb_strip_nulls(jsonb_build_object(
        'agent_id', p_agent_id, 'broker_connection_id', p_broker_connection_id,
        'client_order_id', p_client_order_id, 'expires_in', v_expires_in));
    v_job_id uuid;
begin
    select e.job_id into v_job_id
    from jobengine.enqueue(
        p_job_types => array[p_job_type], p_inputs => array[p_input],
        p_queues => array['agent/' || p_agent_id], p_tenant_ids => array[p_user_id], p_metas => array[v_meta],
        p_wakes => array[true], p_expires_ins => array[v_expires_in]) e;
    perform public._job_created(p_user_id, v_job_id, p_job_type, p_input, v_meta);
    if p_key is not null then
        insert into public.idempotency_key as k (user_id, key, request_hash, job_id, created_at)
        values (p_user_id, p_key, p_request_hash, v_job_id, v_now)
        on conflict (user_id, key) do update
        set request_hash = excluded.request_hash, job_id = excluded.job_id, created_at = excluded.created_at;
        delete from public.idempotency_key k
        where k.ctid = any (array(
            select w.ctid from public.idempotency_key w
            where w.created_at < v_now - interval '24 hours'
            order by w.created_at
            limit 2
            for update skip locked));
    end if;
    return v_job_id;
end;
$$;
