-- public._alert_decide: decides an alert: its signal is kept, and its jobs are in or it says why not.
-- Returns: true; false when this very alert was decided by an earlier call, which changes nothing.
-- Writes: tv_signals
-- Locks: what _alert_keep and _alert_act lock.
-- Calls: _now, _alert_refusal, _alert_insert, _alert_keep, _alert_act
-- Raises: nothing
-- Notes: The order of the gates: source, enabled, onboarding, kill switch, payload, pair, duplicate, age, account,
--   volume, then those of _gate. All of it is one transaction.
create or replace function public._alert_decide(p_strategy public.tv_strategies, p_alert public._alert)
returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_code text := public._alert_refusal(p_strategy, p_alert);
    v_kept text;
begin
    if v_code is not null then
        return public._alert_insert(p_strategy, p_alert, null, v_code);
    end if;
    v_kept := public._alert_keep(p_strategy, p_alert);
    if v_kept = 'duplicate' then
        return public._alert_insert(p_strategy, p_alert, null, 'duplicate');
    elsif v_kept = 'known' then
        return false;
    end if;
    v_code := public._alert_act(p_strategy, p_alert);
    if v_code is not null then
        update public.tv_signals s
        set status = 'discarded', error_message = v_code, resolved_at = public._now()
        where s.id = p_alert.signal_id;
    end if;
    return true;
end;
$$;
