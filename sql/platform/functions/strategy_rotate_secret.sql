-- public.strategy_rotate_secret: gives a strategy of the user who calls another secret.
-- Returns: the strategy.
-- Writes: tv_strategies
-- Locks: the strategy; it waits for who holds it.
-- Calls: _user, _refuse, _check_secret, _now, audit
-- Raises: FX404, FX422
-- Notes: The former secret works for p_overlap more seconds, in which the alerts are changed one by one; the one before
--   it no more. 0 ends it at once: it is known to somebody else.
create or replace function public.strategy_rotate_secret(
    p_id uuid, p_webhook_secret text, p_overlap integer default 86400
) returns setof public.strategies
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_now timestamptz := public._now();
begin
    perform public._check_secret(p_webhook_secret);
    perform public._refuse('FX422', 'invalid', 'overlap', 'from 0 to 604800 seconds')
    where coalesce(p_overlap not between 0 and 604800, true);
    update public.tv_strategies s
    set webhook_secret = p_webhook_secret,
        previous_secret_digest = case when p_overlap > 0 then s.secret_digest end,
        previous_secret_until = case when p_overlap > 0 then v_now + make_interval(secs => p_overlap) end,
        secret_rotated_at = v_now
    where s.id = p_id and s.user_id = v_user_id;
    if not found then
        perform public._refuse('FX404', 'not_found', 'id');
    end if;
    perform public.audit('strategy_rotate_secret', jsonb_build_object('strategy_id', p_id, 'overlap', p_overlap));
    return query select s.* from public.strategies s where s.id = p_id;
end;
$$;
