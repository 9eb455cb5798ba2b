-- public.signal_receive: takes an alert that came with a webhook's secret.
-- Returns: one row: whether the secret is known; if so the strategy, the signal, its status and code, and whether an
--   earlier call with this signal id had decided it.
-- Writes: nothing
-- Locks: the strategy, against its removal, which it waits for; what _alert_decide locks.
-- Calls: _strategy_of, _alert_decide, _alert_insert
-- Raises: nothing
-- Notes: A secret that is nobody's writes nothing. The same signal id again changes nothing and answers the same, so
--   a caller that does not know whether it succeeded calls again. p_received_at is when the alert came, whenever the
--   database hears of it: its age counts from there. It is a time of _now's clock: the caller says _now() less the
--   seconds that it has had the alert, never a time of its own machine. With p_rate_limited the alert is discarded for
--   that, unread.
create or replace function public.signal_receive(
    p_secret_digest bytea,
    p_signal_id uuid,
    p_received_at timestamptz,
    p_payload jsonb,
    p_dedup_key text default null,
    p_symbol text default null,
    p_action text default null,
    p_volume numeric default null,
    p_sl numeric default null,
    p_tp numeric default null,
    p_price numeric default null,
    p_source_ip inet default null,
    p_rate_limited boolean default false
) returns table (
    known boolean, strategy_id uuid, signal_id uuid, status text, error_message text, job_id uuid, replayed boolean)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_strategy public.tv_strategies;
    v_alert public._alert := row(
        p_signal_id, p_received_at, p_source_ip, p_dedup_key, p_symbol, p_action, p_volume, p_sl, p_tp, p_price,
        p_payload);
    v_new boolean;
begin
    v_strategy := public._strategy_of(p_secret_digest, p_received_at);
    perform from public.tv_strategies s where s.id = v_strategy.id for key share;
    if not found then
        return query select false, null::uuid, null::uuid, null, null, null::uuid, false;
        return;
    end if;
    v_new := case
        when p_rate_limited then public._alert_insert(v_strategy, v_alert, null, 'rate_limited')
        else public._alert_decide(v_strategy, v_alert) end;
    return query
    select true, s.strategy_id, s.id, s.status, s.error_message, s.job_id, not v_new
    from (
        select w.strategy_id, w.id, w.status, w.error_message, w.job_id
        from public.tv_signals w where w.id = p_signal_id
        offset 0    -- no other index may come into question
    ) s
    where s.strategy_id = v_strategy.id;
end;
$$;
