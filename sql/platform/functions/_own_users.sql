-- public._own_users: refuses where somebody else (Supabase) keeps the users.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX409
-- Notes: The comment that 0001_base.sql gives its own schema `auth` is what tells them apart.
create or replace function public._own_users() returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX409', 'users_elsewhere')
    where obj_description(to_regnamespace('auth'), 'pg_namespace') is distinct from
        'jobengine platform: users of a plain PostgreSQL';
end;
$$;
