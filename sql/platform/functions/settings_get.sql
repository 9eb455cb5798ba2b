-- public.settings_get: profile and settings of the user who calls.
-- Returns: one row.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX404
create or replace function public.settings_get() returns setof public.settings
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select s.* from public.settings s where s.user_id = auth.uid();
    if not found then
        perform public._refuse('FX404', 'not_found', 'user');
    end if;
end;
$$;
