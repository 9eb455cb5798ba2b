-- public.agent_revoke: takes an agent's right to call away, for good, and cancels the jobs that are for it alone.
-- Returns: the agent; of one that is revoked already, as it is.
-- Writes: mt5_agents
-- Locks: the agent's row (it waits for who holds it), then what _cancel_queue locks.
-- Calls: _user, _refuse, _now, _cancel_queue, audit
-- Raises: FX404, JE004
-- Notes: An order that it has begun is left alone: its lease runs out, and it becomes unknown, not cancelled. What
--   it holds of other queues waits again for another agent.
create or replace function public.agent_revoke(p_agent_id uuid) returns setof public.agents
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_revoked_at timestamptz;
begin
    select a.revoked_at into v_revoked_at
    from public.mt5_agents a where a.id = p_agent_id and a.user_id = v_user_id for update;
    if not found then
        perform public._refuse('FX404', 'not_found', 'agent_id');
    end if;
    if v_revoked_at is null then
        update public.mt5_agents a
        set revoked_at = public._now(), is_connected = false,
            previous_key_hash = null, previous_key_digest = null, previous_key_until = null
        where a.id = p_agent_id;
        perform public._cancel_queue(v_user_id, 'agent/' || p_agent_id, 'agent_revoked');
        perform public.audit('agent_revoke', jsonb_build_object('agent_id', p_agent_id));
    end if;
    return query select a.* from public.agents a where a.agent_id = p_agent_id;
end;
$$;
