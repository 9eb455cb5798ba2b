-- public.broker_connection_create: adds a broker account of the user who calls.
-- Returns: the account.
-- Writes: broker_connections
-- Locks: the user's profile, so that two calls agree on the default; then the former default.
-- Calls: _user, _refuse, _check_connection, _undefault, _now
-- Raises: FX404, FX422
-- Notes: A user's first account is the default; a new default takes that away from the former.
create or replace function public.broker_connection_create(
    p_name text,
    p_broker text default null,
    p_server text default null,
    p_login text default null,
    p_account_currency text default null,
    p_account_mode text default null,
    p_margin_mode text default null,
    p_is_default boolean default null,
    p_symbol_map jsonb default null,
    p_symbol_suffix text default null
) returns setof public.connections
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_default boolean;
    v_id uuid;
begin
    perform public._refuse('FX422', 'invalid', 'symbol_map', 'a JSON object')
    where jsonb_typeof(p_symbol_map) <> 'object';
    perform public._check_connection(jsonb_build_object(
        'name', coalesce(p_name, ''), 'broker', p_broker, 'server', p_server, 'login', p_login,
        'account_currency', p_account_currency, 'account_mode', p_account_mode, 'margin_mode', p_margin_mode,
        'symbol_map', p_symbol_map, 'symbol_suffix', p_symbol_suffix));
    v_default := public._undefault(v_user_id, coalesce(p_is_default, false));
    insert into public.broker_connections (
        user_id, name, broker, server, login, account_currency, account_mode, margin_mode, is_default, symbol_map,
        symbol_suffix, created_at)
    values (
        v_user_id, p_name, p_broker, p_server, p_login, p_account_currency, p_account_mode, p_margin_mode, v_default,
        coalesce(p_symbol_map, '{}'), p_symbol_suffix, public._now())
    returning id into v_id;
    return query select c.* from public.connections c where c.id = v_id;
end;
$$;
