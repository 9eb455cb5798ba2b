-- public.agent_rotate_key: gives an agent of the user who calls a new key; the old one is good for 10 minutes more.
-- Returns: the agent.
-- Writes: mt5_agents
-- Locks: the agent's row; it waits for who holds it.
-- Calls: _user, _check_key, _own_agent, _now, audit
-- Raises: FX404, FX409, FX422
create or replace function public.agent_rotate_key(
    p_agent_id uuid, p_key_hash text, p_key_prefix text, p_key_digest bytea
) returns setof public.agents
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
begin
    perform public._check_key(p_key_hash, p_key_prefix, p_key_digest);
    perform public._own_agent(p_agent_id, public._user());
    update public.mt5_agents a
    set previous_key_hash = a.pairing_key_hash,
        previous_key_digest = a.pairing_key_digest,
        previous_key_until = v_now + interval '10 minutes',
        pairing_key_hash = p_key_hash,
        pairing_key_prefix = p_key_prefix,
        pairing_key_digest = p_key_digest,
        key_rotated_at = v_now
    where a.id = p_agent_id;
    perform public.audit('agent_rotate_key', jsonb_build_object('agent_id', p_agent_id, 'key_prefix', p_key_prefix));
    return query select a.* from public.agents a where a.agent_id = p_agent_id;
end;
$$;
