-- public.onboarding_complete: the user who calls accepts the disclaimer and may trade.
-- Returns: profile and settings.
-- Writes: profiles, user_settings
-- Locks: the user's rows.
-- Calls: _user, _now, settings_get, audit
-- Raises: FX404
-- Notes: A repeat changes nothing: the first time counts.
create or replace function public.onboarding_complete() returns setof public.settings
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_now timestamptz := public._now();
begin
    update public.user_settings s set disclaimer_accepted_at = v_now
    where s.user_id = v_user_id and s.disclaimer_accepted_at is null;
    update public.profiles p set onboarding_completed_at = v_now
    where p.id = v_user_id and p.onboarding_completed_at is null;
    if found then
        perform public.audit('onboarding_complete');
    end if;
    return query select s.* from public.settings_get() s;
end;
$$;
