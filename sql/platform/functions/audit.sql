-- public.audit: notes what somebody did.
-- Returns: the number of the note.
-- Writes: audit_log
-- Locks: nothing
-- Calls: auth.uid, _now, _caller, _refuse
-- Raises: FX422
-- Notes: The actor is the role that calls, the user the one of the request's claims. For the service and for functions
--   that did what they note: a user who may call it could note what never happened.
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
        auth.uid(), public._caller(), p_action,
        coalesce(p_detail, '{}'), p_ip, public._now())
    returning id into v_id;
    return v_id;
end;
$$;
