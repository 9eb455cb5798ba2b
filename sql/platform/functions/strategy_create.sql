-- public.strategy_create: makes a strategy of the user who calls, whose alerts come with the secret.
-- Returns: the strategy.
-- Writes: tv_strategies
-- Locks: nothing
-- Calls: _user, _refuse, _check_strategy, _check_secret, _strategy_set, _now, audit
-- Raises: FX404, FX422
-- Notes: p_values has `name` and any other field that strategy_update can change.
create or replace function public.strategy_create(p_webhook_secret text, p_values jsonb)
returns setof public.strategies
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_id uuid;
begin
    perform public._check_secret(p_webhook_secret);
    perform public._check_strategy(v_user_id, p_values);
    perform public._refuse('FX422', 'invalid', 'name', '1 to 100 characters') where not p_values ? 'name';
    insert into public.tv_strategies (user_id, name, webhook_secret, created_at)
    values (v_user_id, p_values ->> 'name', p_webhook_secret, public._now())
    returning id into v_id;
    perform public._strategy_set(v_user_id, v_id, p_values);
    perform public.audit('strategy_create', jsonb_build_object('strategy_id', v_id));
    return query select s.* from public.strategies s where s.id = v_id;
end;
$$;
