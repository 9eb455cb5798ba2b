-- public._alert_keep: keeps the signal of an alert that may be a repeat.
-- Returns: null once it is kept; `duplicate`; `known`, when this very alert was kept by an earlier call.
-- Writes: tv_signals
-- Locks: the signal that held the key before; it waits for calls with the same key.
-- Calls: _alert_insert
-- Raises: nothing
-- Notes: An id that the alert itself carries is never used twice. A body is a repeat of the same body only within the
--   strategy's window, as adding to a position with the same alert is legal: the older of the two gives the key up.
create or replace function public._alert_keep(p_strategy public.tv_strategies, p_alert public._alert) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_key text := case when p_strategy.dedup_enabled then p_alert.dedup_key end;
    v_window interval := make_interval(secs => p_strategy.dedup_seconds);
    v_other timestamptz;
begin
    loop
        if public._alert_insert(p_strategy, p_alert, v_key, null) then
            return null;
        end if;
        if exists (select from public.tv_signals s where s.id = p_alert.signal_id) then
            return 'known';
        end if;
        select s.created_at into v_other
        from public.tv_signals s where s.strategy_id = p_strategy.id and s.dedup_key = v_key;
        if found and (v_key not like 'body:%' or abs(extract(epoch from p_alert.received_at - v_other))
                      < p_strategy.dedup_seconds) then
            return 'duplicate';
        elsif v_other > p_alert.received_at then
            v_key := null;
        end if;
        update public.tv_signals s set dedup_key = null
        where s.strategy_id = p_strategy.id and s.dedup_key = v_key
          and s.created_at <= p_alert.received_at - v_window;
    end loop;
end;
$$;
