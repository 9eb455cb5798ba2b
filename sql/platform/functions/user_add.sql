-- public.user_add: adds a user on a plain PostgreSQL.
-- Returns: the user's id.
-- Writes: auth.users
-- Locks: nothing
-- Calls: _own_users, _refuse
-- Raises: FX409, FX422
-- Notes: Where somebody else keeps the users (Supabase), they are added there: users_elsewhere. Profile and settings
--   come by a trigger.
create or replace function public.user_add(p_email text) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid;
begin
    perform public._own_users();
    perform public._refuse('FX422', 'invalid', 'email', 'name@host, at most 254 characters')
    where coalesce(p_email !~ '^[^@[:space:]]+@[^@[:space:]]+$' or length(p_email) > 254, true);
    insert into auth.users (email) values (lower(p_email)) on conflict do nothing returning id into v_user_id;
    perform public._refuse('FX409', 'email_taken', 'email') where v_user_id is null;
    return v_user_id;
end;
$$;
