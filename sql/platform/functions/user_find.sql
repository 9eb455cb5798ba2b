-- public.user_find: the user of an address, on a plain PostgreSQL.
-- Returns: the user's id; null where there is none.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX409
-- For tokens that the operator issues, as user_add: where somebody else keeps the users it is users_elsewhere.
create or replace function public.user_find(p_email text) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX409', 'users_elsewhere')
    where obj_description(to_regnamespace('auth'), 'pg_namespace') is distinct from
        'jobengine platform: users of a plain PostgreSQL';
    return (select u.id from auth.users u where u.email = lower(p_email));
end;
$$;
