-- public.broker_connection_delete: removes a broker account of the user who calls, and cancels the jobs for it.
-- Returns: its id.
-- Writes: broker_connections
-- Locks: the account, then what _cancel_queue locks.
-- Calls: _user, _refuse, _cancel_queue
-- Raises: FX404, FX409, JE004
-- Notes: Refused while an agent, a strategy or a deployment names it. No other account becomes the default by itself.
create or replace function public.broker_connection_delete(p_id uuid) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
begin
    delete from public.broker_connections b where b.id = p_id and b.user_id = v_user_id;
    if not found then
        perform public._refuse('FX404', 'not_found', 'id');
    end if;
    perform public._cancel_queue(v_user_id, 'broker/' || p_id, 'broker_connection_deleted');
    return p_id;
exception when foreign_key_violation then
    perform public._refuse('FX409', 'broker_connection_in_use', 'id');
    return null;
end;
$$;
