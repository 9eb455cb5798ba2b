-- public._trading_account: the broker account that a user trades on.
-- Returns: the named one, else the default, else the only one; null where none of these is.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX404
create or replace function public._trading_account(p_user_id uuid, p_broker_connection_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
    v_default boolean;
begin
    select array_agg(b.id order by b.is_default desc), bool_or(b.is_default) into v_ids, v_default
    from public.broker_connections b
    where b.user_id = p_user_id and (p_broker_connection_id is null or b.id = p_broker_connection_id);
    perform public._refuse('FX404', 'not_found', 'broker_connection_id')
    where p_broker_connection_id is not null and v_ids is null;
    return case when v_default or cardinality(v_ids) = 1 then v_ids[1] end;
end;
$$;
