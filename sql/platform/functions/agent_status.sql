-- public.agent_status: whether an agent is there.
-- Returns: one row.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX404
-- Notes: With the caller's rights: a user finds the user's own agents, the service all.
create or replace function public.agent_status(p_agent_id uuid)
returns table (
    agent_id uuid, is_connected boolean, last_heartbeat timestamptz, last_seen_at timestamptz, status text,
    metrics jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select a.agent_id, a.is_connected, a.last_heartbeat, a.last_seen_at, a.status, a.metrics
    from public.agents a where a.agent_id = p_agent_id;
    if not found then
        perform public._refuse('FX404', 'not_found', 'agent_id');
    end if;
end;
$$;
