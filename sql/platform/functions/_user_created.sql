-- public._user_created: trigger that gives a new user a profile and settings.
-- Returns: the row.
-- Writes: profiles, user_settings
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._user_created() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.profiles (id, email) values (new.id, new.email) on conflict do nothing;
    insert into public.user_settings (user_id) values (new.id) on conflict do nothing;
    return new;
end;
$$;
