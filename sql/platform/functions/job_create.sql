-- public.job_create: puts in a job of one of the nine types for the agent, account or user that it is meant for.
-- Returns: one row: the job's id, ok, duplicate (then the first job's id) or busy (call again), and its queue.
-- Writes: nothing
-- Locks: what _job_target and _check_gate lock, what jobengine.enqueue locks, then what _job_created locks.
-- Calls: _user, _caller, _refuse, _check_onboarded, _job_target, _check_parent, _check_gate, _number, _job_created,
--   jobengine.enqueue
-- Raises: FX403, FX404, FX409, FX422, FX503, JE001, JE002
-- Notes: The queue is the target: agent/<id>, broker/<id>, any. Orders always have one (else the user's default
--   account) and expire: after 60 seconds, those of a signal after 300; p_expires_in 0 is never. p_user_id is for the
--   service, which has asked the gate itself; a user's order passes the onboarding gate and, as a trade, _check_gate.
create or replace function public.job_create(
    p_job_type text,
    p_input jsonb default null,
    p_agent_id uuid default null,
    p_broker_connection_id uuid default null,
    p_parent_type text default null,
    p_parent_id uuid default null,
    p_dedup_key text default null,
    p_live_key text default null,
    p_expires_in double precision default null,
    p_wake boolean default null,
    p_user_id uuid default null
) returns table (job_id uuid, verdict text, queue text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user(p_user_id);
    v_order boolean := p_job_type in ('trade', 'close_position');
    v_own boolean := v_order and (p_user_id is null or not pg_has_role(public._caller(), 'service_role', 'member'));
    v_target record;
    v_expires_in double precision := nullif(coalesce(p_expires_in, case
        when p_job_type not in ('trade', 'close_position') then null
        when p_input ->> 'source' = 'tv_signal' then 300
        else 60 end), 0);
    v_meta jsonb;
    v_job record;
begin
    perform public._refuse('FX422', 'invalid', 'input', 'a JSON object')
    where jsonb_typeof(p_input) <> 'object';
    if v_own then
        perform public._check_onboarded(v_user_id);
    end if;
    perform public._check_parent(v_user_id, p_job_type, p_parent_type, p_parent_id);
    select t.queue, t.agent_id, t.broker_connection_id into v_target
    from public._job_target(v_user_id, p_agent_id, p_broker_connection_id, v_order) t;
    if v_own and p_job_type = 'trade' then
        perform public._check_gate(
            v_user_id, p_input ->> 'symbol', public._number(p_input -> 'volume'), v_target.broker_connection_id);
    end if;
    v_meta := jsonb_strip_nulls(jsonb_build_object(
        'agent_id', v_target.agent_id, 'broker_connection_id', v_target.broker_connection_id,
        'parent_type', p_parent_type, 'parent_id', p_parent_id,
        'expires_in', case when v_order then v_expires_in end));
    select e.job_id, e.verdict into v_job
    from jobengine.enqueue(
        p_job_types => array[p_job_type], p_inputs => array[p_input], p_queues => array[v_target.queue],
        p_tenant_ids => array[v_user_id], p_metas => array[v_meta], p_wakes => array[p_wake],
        p_dedup_keys => case when p_dedup_key is not null then array[p_dedup_key] end,
        p_live_keys => case when p_live_key is not null then array[p_live_key] end,
        p_expires_ins => array[v_expires_in]) e;
    if v_job.verdict = 'ok' then
        perform public._job_created(v_user_id, v_job.job_id, p_job_type, p_input, v_meta);
    end if;
    return query select v_job.job_id, v_job.verdict, v_target.queue;
end;
$$;
