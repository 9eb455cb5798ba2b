-- public._check_onboarded: refuses orders of a user who has not accepted the disclaimer.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX403
create or replace function public._check_onboarded(p_user_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
            select from public.profiles p where p.id = p_user_id and p.onboarding_completed_at is not null) then
        perform public._refuse('FX403', 'onboarding_required');
    end if;
end;
$$;
