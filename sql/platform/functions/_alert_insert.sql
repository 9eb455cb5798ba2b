-- public._alert_insert: writes the signal of an alert, if neither it nor its key is there.
-- Returns: whether it was written.
-- Writes: tv_signals
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
-- Notes: With a code it is discarded for it, and holds no key. It waits for a call that writes the same alert or key.
create or replace function public._alert_insert(
    p_strategy public.tv_strategies, p_alert public._alert, p_dedup_key text, p_code text
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
begin
    insert into public.tv_signals (
        id, user_id, strategy_id, status, symbol, action, volume, price, raw_payload, created_at, dedup_key,
        source_ip, decided_at, error_message, resolved_at)
    values (
        p_alert.signal_id, p_strategy.user_id, p_strategy.id,
        case when p_code is null then 'pending' else 'discarded' end, nullif(p_alert.symbol, ''),
        case when p_alert.action ^@ 'close' then 'close' else p_alert.action end,
        p_alert.volume, p_alert.price, p_alert.payload, p_alert.received_at, p_dedup_key,
        p_alert.source, v_now, p_code, case when p_code is not null then v_now end)
    on conflict do nothing;
    return found;
end;
$$;
