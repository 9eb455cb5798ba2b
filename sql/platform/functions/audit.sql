-- public.audit: notes what somebody did.
-- Returns: the number of the note.
-- Writes: audit_log
-- Locks: nothing
-- Calls: auth.uid, _now, _refuse
-- Raises: FX422
-- Notes: The actor is the role that was taken; the user is the one of the request's claims, so nobody writes notes of
--   another.
create or replace function public.audit(p_action text, p_detail jsonb default null, p_ip inet default null)
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id bigint;
begin
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('action', '1 to 200 characters', coalesce(length(p_action) between 1 and 200, false)),
        ('detail', 'at most 64 KiB', coalesce(length(p_detail::text) <= 65536, true))
    ) r (field, rule, holds)
    where not r.holds
    limit 1;
    insert into public.audit_log (user_id, actor, action, detail, ip, occurred_at)
    values (
        auth.uid(), coalesce(nullif(current_setting('role', true), 'none'), session_user), p_action,
        coalesce(p_detail, '{}'), p_ip, public._now())
    returning id into v_id;
    return v_id;
end;
$$;
