-- public.position_close: puts in the order to close a position, or a part of it, of the user who calls.
-- Returns: one row; replayed says that the key has made this order before.
-- Writes: nothing
-- Locks: the key; what _trading_target and jobengine.enqueue lock.
-- Calls: _user, _refuse, _order_key, _replayed_order, _check_onboarded, _trading_target, _order_put
-- Raises: FX403, FX404, FX422, FX503, JE002
-- Notes: As order_create, but no rule of the user stops it: closing takes risk away.
create or replace function public.position_close(
    p_ticket text,
    p_volume numeric default null,
    p_broker_connection_id uuid default null,
    p_key text default null,
    p_request_hash bytea default null
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
    perform public._refuse('FX422', 'invalid', 'ticket', '1 to 64 characters')
    where coalesce(length(p_ticket) not between 1 and 64, true);
    perform public._refuse('FX422', 'invalid', 'volume', 'above 0, below 100000000000')
    where not (round(p_volume, 8) > 0 and p_volume < 100000000000);
    select t.agent_id, t.broker_connection_id into v_target
    from public._trading_target(v_user_id, p_broker_connection_id) t;
    v_job_id := public._order_put(
        v_user_id, 'close_position',
        jsonb_strip_nulls(jsonb_build_object('ticket', p_ticket, 'volume', p_volume)),
        v_target.agent_id, v_target.broker_connection_id, null, p_key, p_request_hash, null);
    return query select v_job_id, v_target.agent_id, v_target.broker_connection_id, false;
end;
$$;
