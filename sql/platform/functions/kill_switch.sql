-- public.kill_switch: stops the trading of the user who calls, or lets it go on.
-- Returns: one row: the trading state now, how many waiting orders were cancelled, how many positions are closing.
-- Writes: user_settings
-- Locks: the user's settings, which it waits for; then what _cancel_orders and _close_positions lock.
-- Calls: _user, _refuse, _now, _cancel_orders, _close_positions, audit
-- Raises: FX404, FX422, JE004
-- Notes: `halted` and `reducing` let nothing be opened and closing pass: once this has committed, no trade is begun,
--   whoever has claimed it (_fence_trades). One that was begun may still fill: agents hear of the state in their next
--   heartbeat. It closes every position on record; the jobs for it wait five minutes.
create or replace function public.kill_switch(
    p_state text default 'halted', p_cancel_pending boolean default true, p_close_all boolean default false
) returns table (trading_state text, cancelled integer, closing integer)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_cancelled integer := 0;
    v_closing integer := 0;
begin
    perform public._refuse('FX422', 'invalid', 'state', 'active, reducing or halted')
    where p_state is null or p_state not in ('active', 'reducing', 'halted');
    update public.user_settings u set trading_state = p_state where u.user_id = v_user_id;
    if p_cancel_pending and p_state <> 'active' then
        v_cancelled := public._cancel_orders(v_user_id, null, null, 'kill_switch');
    end if;
    if p_close_all then
        v_closing := cardinality(public._close_positions(
            v_user_id, null, null, null, null, public._now() + interval '5 minutes'));
    end if;
    perform public.audit('kill_switch', jsonb_build_object(
        'state', p_state, 'cancel_pending', p_cancel_pending, 'close_all', p_close_all,
        'cancelled', v_cancelled, 'closing', v_closing));
    return query select p_state, v_cancelled, v_closing;
end;
$$;
