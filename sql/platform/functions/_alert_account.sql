-- public._alert_account: the account on which a strategy trades.
-- Returns: the strategy's own, else the user's default, else the only one; null where none is meant.
-- Writes: nothing
-- Locks: the account, against its removal; it waits for who removes it.
-- Calls: nothing
-- Raises: nothing
create or replace function public._alert_account(p_strategy public.tv_strategies) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    select b.id into v_id
    from public.broker_connections b
    where b.user_id = p_strategy.user_id
      and case when p_strategy.broker_connection_id is not null then b.id = p_strategy.broker_connection_id
               else b.is_default or not exists (
                   select from public.broker_connections o where o.user_id = b.user_id and o.id <> b.id) end
    for key share;
    return v_id;
end;
$$;
