-- public._alert_act: does what the kept signal of an alert says, if the gates let it.
-- Returns: null once its jobs are in, else the code for which it is discarded.
-- Writes: tv_signals
-- Locks: the account, against its removal, which it waits for; what _gate and jobengine.enqueue lock; the signal,
--   which is this transaction's own.
-- Calls: _now, _trading_account, _alert_symbol, _alert_trade, _alert_close, _loss_gate, _gate
-- Raises: nothing
-- Notes: The order of the gates: age, account, volume, the day's losses, then the others that orders by hand pass too.
--   A close alert opens nothing, so it needs the first two only.
create or replace function public._alert_act(p_strategy public.tv_strategies, p_alert public._alert) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_expires_at timestamptz := p_alert.received_at + make_interval(secs => nullif(p_strategy.expires_in, 0));
    v_account uuid;
    v_symbol text;
    v_user record;
    v_volume numeric;
    v_code text;
begin
    if v_expires_at <= public._now() then
        return 'expired';
    end if;
    v_account := public._trading_account(p_strategy.user_id, p_strategy.broker_connection_id);
    perform from public.broker_connections b where b.id = v_account for key share;
    if v_account is null then
        return 'broker_connection_required';
    end if;
    v_symbol := public._alert_symbol(v_account, p_alert.symbol);
    if p_alert.action ^@ 'close' then
        return public._alert_close(p_strategy, p_alert, v_expires_at);
    end if;
    select u.default_volume, u.daily_loss_limit_pct into v_user
    from public.user_settings u where u.user_id = p_strategy.user_id;
    v_volume := coalesce(p_alert.volume, p_strategy.default_volume, v_user.default_volume);
    v_code := case when v_volume is null then 'volume_missing' else coalesce(
        public._loss_gate(
            p_strategy.user_id, coalesce(p_strategy.risk_override_pct, v_user.daily_loss_limit_pct), v_account),
        public._gate(p_strategy.user_id, v_symbol, v_volume, p_strategy.risk_override_pct, v_account)) end;
    if v_code is null then
        update public.tv_signals s set volume = v_volume where s.id = p_alert.signal_id;
        perform public._alert_trade(p_strategy, p_alert, v_account, v_symbol, v_volume, v_expires_at);
    end if;
    return v_code;
end;
$$;
