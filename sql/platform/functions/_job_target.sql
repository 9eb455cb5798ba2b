-- public._job_target: where a job of a user goes.
-- Returns: one row: the queue, and the agent and the broker account as far as they are known.
-- Writes: nothing
-- Locks: the account, then the agent, against their removal; it waits for who removes them.
-- Calls: _refuse
-- Raises: FX404, FX409, FX422
-- Notes: The locks hold until the job is in its queue, where agent_revoke and broker_connection_delete look for it.
--   An order without a target takes the user's default account, so that no agent of another account executes it.
create or replace function public._job_target(
    p_user_id uuid, p_agent_id uuid, p_broker_connection_id uuid, p_order boolean
) returns table (queue text, agent_id uuid, broker_connection_id uuid)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_agent record;
    v_account uuid := p_broker_connection_id;
begin
    if p_broker_connection_id is not null then
        perform from public.broker_connections b
        where b.id = p_broker_connection_id and b.user_id = p_user_id
        for key share;
        if not found then
            perform public._refuse('FX404', 'not_found', 'broker_connection_id');
        end if;
    end if;
    if p_agent_id is not null then
        select a.broker_connection_id, a.revoked_at into v_agent
        from public.mt5_agents a where a.id = p_agent_id and a.user_id = p_user_id for key share;
        if not found then
            perform public._refuse('FX404', 'not_found', 'agent_id');
        end if;
        perform public._refuse('FX409', 'agent_revoked', 'agent_id') where v_agent.revoked_at is not null;
        perform public._refuse('FX422', 'broker_connection_mismatch', 'broker_connection_id', 'the agent''s own')
        where p_broker_connection_id <> v_agent.broker_connection_id;
        v_account := coalesce(v_account, v_agent.broker_connection_id);
    elsif p_order and v_account is null then
        select b.id into v_account
        from public.broker_connections b where b.user_id = p_user_id and b.is_default for key share;
        perform public._refuse('FX422', 'broker_connection_required', 'broker_connection_id') where v_account is null;
    end if;
    return query
    select case when p_agent_id is not null then 'agent/' || p_agent_id
                when v_account is not null then 'broker/' || v_account
                else 'any' end,
           p_agent_id, v_account;
end;
$$;
