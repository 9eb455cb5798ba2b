-- public.user_find: the user of an address, on a plain PostgreSQL.
-- Returns: the user's id; null where there is none.
-- Writes: nothing
-- Locks: nothing
-- Calls: _own_users
-- Raises: FX409
-- Notes: For tokens that the operator issues, as user_add: where somebody else keeps the users it is
--   users_elsewhere.
create or replace function public.user_find(p_email text) returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._own_users();
    return (select u.id from auth.users u where u.email = lower(p_email));
end;
$$;
