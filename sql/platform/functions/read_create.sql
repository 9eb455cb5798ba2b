-- public.read_create: asks an agent of the user who calls for positions, the account or candles.
-- Returns: one row; joined says that somebody asks the same already, and this is that job.
-- Writes: nothing
-- Locks: what _trading_target and jobengine.enqueue lock.
-- Calls: _user, _refuse, _trading_target, jobengine.enqueue
-- Raises: FX404, FX422, FX503, JE002
-- Notes: One live job per agent and question. Read your own writes: the newest event of the account is a part of the
--   question, so a read from before the end of an order is not joined after it. It expires after 15 seconds in
--   waiting. A key that changes hands too often (busy) is done without.
create or replace function public.read_create(
    p_job_type text, p_input jsonb default null, p_broker_connection_id uuid default null
) returns table (job_id uuid, agent_id uuid, broker_connection_id uuid, joined boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_input jsonb := coalesce(p_input, '{}');
    v_target record;
    v_key text;
    v_job record;
begin
    perform public._refuse('FX422', 'invalid', 'job_type', 'get_positions, get_account or get_candles')
    where coalesce(p_job_type not in ('get_positions', 'get_account', 'get_candles'), true);
    perform public._refuse('FX422', 'invalid', 'input', 'a JSON object')
    where jsonb_typeof(v_input) <> 'object';
    select t.agent_id, t.broker_connection_id into v_target
    from public._trading_target(v_user_id, p_broker_connection_id) t;
    v_key := concat_ws('/', p_job_type, v_target.agent_id, md5(v_input::text), case
        when p_job_type <> 'get_candles' then coalesce((
            select max(e.id) from public.trade_events e
            where e.broker_connection_id = v_target.broker_connection_id
              and e.event not in ('requested', 'blocked', 'claimed', 'sent')), 0) end);
    foreach v_key in array array[v_key, null] loop
        select e.job_id, e.verdict into v_job
        from jobengine.enqueue(
            p_job_types => array[p_job_type], p_inputs => array[v_input],
            p_queues => array['agent/' || v_target.agent_id], p_tenant_ids => array[v_user_id],
            p_metas => array[jsonb_build_object(
                'agent_id', v_target.agent_id, 'broker_connection_id', v_target.broker_connection_id)],
            p_live_keys => case when v_key is not null then array[v_key] end,
            p_wakes => array[true], p_expires_ins => array[15]) e;
        exit when v_job.verdict <> 'busy';
    end loop;
    return query
    select v_job.job_id, v_target.agent_id, v_target.broker_connection_id, v_job.verdict = 'duplicate';
end;
$$;
