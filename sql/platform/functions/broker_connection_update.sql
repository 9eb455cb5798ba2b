-- public.broker_connection_update: changes a broker account of the user who calls.
-- Returns: the account.
-- Writes: broker_connections
-- Locks: the account (it waits for who holds it); for a new default also what _undefault locks, before it.
-- Calls: _user, _changes, _check_connection, _undefault, _refuse
-- Raises: FX404, FX422
-- Notes: A field that p_changes does not name stays; null clears it.
create or replace function public.broker_connection_update(p_id uuid, p_changes jsonb)
returns setof public.connections
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    perform public._changes(p_changes, '{
        "name": ["string"], "broker": ["string", "null"], "server": ["string", "null"], "login": ["string", "null"],
        "account_currency": ["string", "null"], "account_mode": ["string", "null"],
        "margin_mode": ["string", "null"], "is_default": ["boolean"], "status": ["string", "null"],
        "symbol_map": ["object"], "symbol_suffix": ["string", "null"]}');
    perform public._check_connection(p_changes);
    perform public._refuse('FX404', 'not_found', 'id')
    where not exists (select from public.broker_connections b where b.id = p_id and b.user_id = v_user_id);
    perform public._undefault(v_user_id, true) where p_changes ? 'is_default';
    update public.broker_connections b
    set name = case when p_changes ? 'name' then p_changes ->> 'name' else b.name end,
        broker = case when p_changes ? 'broker' then p_changes ->> 'broker' else b.broker end,
        server = case when p_changes ? 'server' then p_changes ->> 'server' else b.server end,
        login = case when p_changes ? 'login' then p_changes ->> 'login' else b.login end,
        account_currency = case when p_changes ? 'account_currency'
            then p_changes ->> 'account_currency' else b.account_currency end,
        account_mode = case when p_changes ? 'account_mode' then p_changes ->> 'account_mode' else b.account_mode end,
        margin_mode = case when p_changes ? 'margin_mode' then p_changes ->> 'margin_mode' else b.margin_mode end,
        is_default = b.is_default or p_changes ? 'is_default',
        status = case when p_changes ? 'status' then p_changes ->> 'status' else b.status end,
        symbol_map = case when p_changes ? 'symbol_map' then p_changes -> 'symbol_map' else b.symbol_map end,
        symbol_suffix = case when p_changes ? 'symbol_suffix'
            then p_changes ->> 'symbol_suffix' else b.symbol_suffix end
    where b.id = p_id and b.user_id = v_user_id;
    return query select c.* from public.connections c where c.id = p_id;
end;
$$;
