-- public.strategy_test: sends an alert to a strategy of the user who calls, as if it came with the secret.
-- Returns: one row as signal_receive's: what was decided, or with p_dry_run what would have been.
-- Writes: nothing
-- Locks: what _alert_decide locks.
-- Calls: _user, _refuse, _now, _reason, _trading_account, _alert_decide
-- Raises: FX404, FX422
-- Notes: A dry run is the real one, taken back: it leaves no signal and no job. Neither asks where the call came from.
--   On an account that is said to be real there is the dry run only.
create or replace function public.strategy_test(
    p_id uuid,
    p_signal_id uuid,
    p_payload jsonb,
    p_dedup_key text default null,
    p_symbol text default null,
    p_action text default null,
    p_volume numeric default null,
    p_sl numeric default null,
    p_tp numeric default null,
    p_price numeric default null,
    p_dry_run boolean default true
) returns table (signal_id uuid, status text, error_message text, reason text, job_input jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_strategy public.tv_strategies;
    v_alert public._alert;
begin
    v_alert := row(
        p_signal_id, public._now(), null::inet, p_dedup_key, p_symbol, p_action, p_volume, p_sl, p_tp, p_price,
        p_payload);
    select s.* into v_strategy
    from public.tv_strategies s where s.id = p_id and s.user_id = v_user_id;
    if not found then
        perform public._refuse('FX404', 'not_found', 'id');
    end if;
    perform public._refuse('FX422', 'invalid', 'dry_run', 'true: the account is a real one')
    from public.broker_connections b
    where not p_dry_run and b.account_mode = 'real'
      and b.id = public._trading_account(v_user_id, v_strategy.broker_connection_id);
    v_strategy.allowed_sources := null;
    begin
        perform public._alert_decide(v_strategy, v_alert);
        select s.id, s.status, s.error_message, public._reason(s.error_message), j.input
        into signal_id, status, error_message, reason, job_input
        from public.tv_signals s
        left join jobengine.job j on j.job_id = s.job_id
        where s.id = p_signal_id and s.strategy_id = p_id;
        if p_dry_run then
            raise exception using errcode = 'FX000', message = 'a dry run';
        end if;
    exception when sqlstate 'FX000' then
        signal_id := null;
    end;
    return next;
end;
$$;
