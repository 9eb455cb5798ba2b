-- public.strategy_update: changes a strategy of the user who calls.
-- Returns: the strategy.
-- Writes: nothing
-- Locks: the strategy; it waits for who holds it.
-- Calls: _user, _refuse, _check_strategy, _strategy_set, audit
-- Raises: FX404, FX422
-- Notes: A field that p_changes does not name stays; null clears it. Alerts that come after it see the change.
create or replace function public.strategy_update(p_id uuid, p_changes jsonb) returns setof public.strategies
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    perform public._check_strategy(v_user_id, p_changes);
    perform public._refuse('FX404', 'not_found', 'id')
    where not public._strategy_set(v_user_id, p_id, p_changes);
    perform public.audit('strategy_update', p_changes || jsonb_build_object('strategy_id', p_id));
    return query select s.* from public.strategies s where s.id = p_id;
end;
$$;
