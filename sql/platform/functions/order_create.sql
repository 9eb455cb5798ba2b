-- public.order_create: puts in an order of the user who calls.
-- Returns: one row; replayed says that the key has made this order before.
-- Writes: nothing
-- Locks: the key; what _check_gate and _trading_target lock; what jobengine.enqueue locks.
-- Calls: _user, _order_key, _replayed_order, _check_onboarded, _check_order, _trading_target,
--   _check_gate, _order_put
-- Raises: FX403, FX404, FX422, FX503, JE002
-- Notes: p_key makes a repeat return the same order: key, job and event are one transaction, and a refusal leaves
--   nothing. It expires after 60 seconds, 0 is never. p_request_hash tells requests of the same key apart.
create or replace function public.order_create(
    p_symbol text,
    p_side text,
    p_volume numeric,
    p_sl numeric default null,
    p_tp numeric default null,
    p_broker_connection_id uuid default null,
    p_client_order_id text default null,
    p_key text default null,
    p_request_hash bytea default null,
    p_expires_in double precision default null,
    p_deviation integer default null
) returns table (job_id uuid, agent_id uuid, broker_connection_id uuid, replayed boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_user_id uuid := public._user();
    v_job_id uuid := public._order_key(v_user_id, p_key, p_request_hash);
    v_target record;
begin
    if v_job_id is not null then
        return query select r.job_id, r.agent_id, r.broker_connection_id, true from public._replayed_order(v_job_id) r;
        return;
    end if;
    perform public._check_onboarded(v_user_id);
    perform public._check_order(p_symbol, p_side, p_volume, p_sl, p_tp, p_client_order_id, p_expires_in, p_deviation);
    select t.agent_id, t.broker_connection_id into v_target
    from public._trading_target(v_user_id, p_broker_connection_id) t;
    perform public._check_gate(v_user_id, p_symbol, p_volume, v_target.broker_connection_id);
    v_job_id := public._order_put(
        v_user_id, 'trade',
        jsonb_strip_nulls(jsonb_build_object(
            'symbol', p_symbol, 'side', p_side, 'volume', p_volume, 'sl', p_sl, 'tp', p_tp,
            'deviation', p_deviation, 'source', 'manual')),
        v_target.agent_id, v_target.broker_connection_id, p_client_order_id, p_key, p_request_hash, p_expires_in);
    return query select v_job_id, v_target.agent_id, v_target.broker_connection_id, false;
end;
$$;
