-- public.strategy_delete: removes a strategy of the user who calls, with its signals.
-- Returns: its id.
-- Writes: tv_strategies
-- Locks: the strategy and its signals; it waits for who holds them. Then what _cancel_orders locks.
-- Calls: _user, _refuse, _cancel_orders, audit
-- Raises: FX404
-- Notes: Alerts under way are decided before it, so that no order of theirs is overlooked. Its orders that wait are
--   cancelled; one that was sent stays, and trade_events keep what became of all of them.
create or replace function public.strategy_delete(p_id uuid) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    perform from public.tv_strategies s where s.id = p_id and s.user_id = v_user_id for update;
    if not found then
        perform public._refuse('FX404', 'not_found', 'id');
    end if;
    perform public._cancel_orders(v_user_id, p_id, null, 'strategy_deleted');
    delete from public.tv_strategies s where s.id = p_id and s.user_id = v_user_id;
    perform public.audit('strategy_delete', jsonb_build_object('strategy_id', p_id));
    return p_id;
end;
$$;
