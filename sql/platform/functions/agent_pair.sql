-- public.agent_pair: makes a new agent of the user who calls.
-- Returns: the agent.
-- Writes: mt5_agents
-- Locks: nothing
-- Calls: _user, _check_key, _refuse, _now, audit
-- Raises: FX403, FX404, FX422
-- Notes: The key itself is never stored: its bcrypt hash, a SHA-256 digest for the hot path, and 8 characters to
--   show.
create or replace function public.agent_pair(
    p_name text,
    p_broker_connection_id uuid default null,
    p_key_hash text default null,
    p_key_prefix text default null,
    p_key_digest bytea default null
) returns setof public.agents
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_agent_id uuid;
begin
    perform public._check_key(p_key_hash, p_key_prefix, p_key_digest);
    perform public._refuse('FX422', 'invalid', 'name', '1 to 100 characters')
    where coalesce(length(p_name) not between 1 and 100, true);
    perform public._refuse('FX403', 'onboarding_required')
    where not exists (select from public.profiles p
                      where p.id = v_user_id and p.onboarding_completed_at is not null);
    perform public._refuse('FX404', 'not_found', 'broker_connection_id')
    where p_broker_connection_id is not null and not exists (
        select from public.broker_connections b where b.id = p_broker_connection_id and b.user_id = v_user_id);
    insert into public.mt5_agents (
        user_id, name, broker_connection_id, pairing_key_hash, pairing_key_prefix, pairing_key_digest,
        key_rotated_at, created_at)
    values (
        v_user_id, p_name, p_broker_connection_id, p_key_hash, p_key_prefix, p_key_digest,
        public._now(), public._now())
    returning id into v_agent_id;
    perform public.audit('agent_pair', jsonb_build_object('agent_id', v_agent_id, 'key_prefix', p_key_prefix));
    return query select a.* from public.agents a where a.agent_id = v_agent_id;
end;
$$;
