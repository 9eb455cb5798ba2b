-- public._own_agent: finds a live agent of a user and locks it.
-- Returns: nothing.
-- Writes: nothing
-- Locks: the agent's row; it waits for who holds it.
-- Calls: _refuse
-- Raises: FX404, FX409
create or replace function public._own_agent(p_agent_id uuid, p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_revoked_at timestamptz;
begin
    select a.revoked_at into v_revoked_at
    from public.mt5_agents a where a.id = p_agent_id and a.user_id = p_user_id for update;
    if not found then
        perform public._refuse('FX404', 'not_found', 'agent_id');
    end if;
    perform public._refuse('FX409', 'agent_revoked', 'agent_id') where v_revoked_at is not null;
end;
$$;
