-- public._alert_trade: puts in the order of a signal that passed every gate.
-- Returns: the job's id.
-- Writes: nothing
-- Locks: what jobengine.enqueue locks, then what _job_created locks.
-- Calls: _job_created, jobengine.enqueue
-- Raises: JE001
-- Notes: Any agent of the account may take it, until the alert is too old to act on.
create or replace function public._alert_trade(
    p_strategy public.tv_strategies, p_alert public._alert, p_account uuid, p_symbol text, p_volume numeric,
    p_expires_at timestamptz
) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_input jsonb := jsonb_build_object(
        'symbol', p_symbol, 'side', p_alert.action, 'volume', p_volume, 'sl', p_alert.sl, 'tp', p_alert.tp,
        'magic', p_strategy.magic, 'source', 'tv_signal', 'signal_id', p_alert.signal_id,
        'strategy_id', p_strategy.id);
    v_meta jsonb := jsonb_build_object(
        'broker_connection_id', p_account, 'parent_type', 'tv_signal', 'parent_id', p_alert.signal_id);
    v_job_id uuid;
begin
    select e.job_id into v_job_id
    from jobengine.enqueue(
        p_job_types => array['trade'], p_inputs => array[v_input], p_tenant_ids => array[p_strategy.user_id],
        p_queues => array['broker/' || p_account], p_metas => array[v_meta], p_wakes => array[true],
        p_expires_ats => array[p_expires_at]) e;
    perform public._job_created(p_strategy.user_id, v_job_id, 'trade', v_input, v_meta);
    return v_job_id;
end;
$$;
