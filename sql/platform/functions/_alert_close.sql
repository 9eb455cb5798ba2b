-- public._alert_close: does what a signal that closes says.
-- Returns: null once its jobs are in, else the code that says why there are none.
-- Writes: nothing
-- Locks: what _cancel_orders and _close_positions lock.
-- Calls: _alert_symbol, _cancel_orders, _close_positions
-- Raises: JE004
-- Notes: Without a symbol it closes all that the strategy holds, with one what any of the user's accounts calls so: the
--   strategy may have traded on another account before. The strategy's orders that still wait would open again what is
--   meant to be closed, so they are cancelled. An order that is at the broker now is not known as a position yet and
--   stays open.
create or replace function public._alert_close(
    p_strategy public.tv_strategies, p_alert public._alert, p_expires_at timestamptz
) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_symbols text[] := case when p_alert.symbol is not null then array(
        select upper(public._alert_symbol(b.id, p_alert.symbol))
        from public.broker_connections b where b.user_id = p_strategy.user_id) || upper(p_alert.symbol) end;
    v_cancelled integer := public._cancel_orders(p_strategy.user_id, p_strategy.id, v_symbols, 'closed_by_alert');
    v_job_ids uuid[] := public._close_positions(
        p_strategy.user_id, p_strategy.id, p_alert.signal_id, v_symbols,
        case p_alert.action when 'close_long' then 'buy' when 'close_short' then 'sell' end, p_expires_at);
begin
    return case when cardinality(v_job_ids) > 0 then null
                when v_cancelled > 0 then 'orders_cancelled'
                else 'position_not_found' end;
end;
$$;
