-- public._user: the user who calls.
-- Returns: the subject of the request's claims; with p_user_id that user, if the caller may act for it.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _caller, _refuse
-- Raises: FX404
-- Notes: Only members of service_role may name another user than themselves.
create or replace function public._user(p_user_id uuid default null) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := auth.uid();
begin
    perform public._refuse('FX404', 'not_found', 'user')
    where coalesce(p_user_id, v_user_id) is null
       or (p_user_id is distinct from v_user_id and p_user_id is not null
           and not pg_has_role(public._caller(), 'service_role', 'member'));
    return coalesce(p_user_id, v_user_id);
end;
$$;
