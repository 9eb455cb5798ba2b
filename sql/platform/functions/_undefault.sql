-- public._undefault: makes room for a default account.
-- Returns: whether the account to come is the default: it is meant to be, or the user has none.
-- Writes: broker_connections
-- Locks: the user's profile (it waits for who holds it), then the former default.
-- Calls: _refuse
-- Raises: FX404
create or replace function public._undefault(p_user_id uuid, p_wanted boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform p.id from public.profiles p where p.id = p_user_id for update;
    if not found then
        perform public._refuse('FX404', 'not_found', 'user');
    end if;
    if p_wanted then
        update public.broker_connections b set is_default = false where b.user_id = p_user_id and b.is_default;
    end if;
    return p_wanted
        or not exists (select from public.broker_connections b where b.user_id = p_user_id and b.is_default);
end;
$$;
