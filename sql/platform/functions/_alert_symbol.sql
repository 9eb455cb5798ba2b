-- public._alert_symbol: how the broker of an account spells an alert's symbol.
-- Returns: the symbol; null for null.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: The account's map first, as the alert spells it, then in capitals; what the map does not have gets the suffix.
create or replace function public._alert_symbol(p_broker_connection_id uuid, p_symbol text) returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        b.symbol_map ->> p_symbol, b.symbol_map ->> upper(p_symbol), p_symbol || coalesce(b.symbol_suffix, ''))
    from public.broker_connections b
    where b.id = p_broker_connection_id
$$;
