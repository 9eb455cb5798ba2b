-- public._trading_target: which agent does the work on a user's broker account.
-- Returns: one row.
-- Writes: nothing
-- Locks: the account, then the agent, against their removal; it waits for who removes them.
-- Calls: _trading_account, _now, _refuse
-- Raises: FX404, FX422, FX503
-- Notes: Of the account's agents the one with the newest sign of life, of the last 10 minutes. The locks hold until
--   the job is in its queue, where agent_revoke looks for it.
create or replace function public._trading_target(p_user_id uuid, p_broker_connection_id uuid)
returns table (agent_id uuid, broker_connection_id uuid)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_account uuid := public._trading_account(p_user_id, p_broker_connection_id);
    v_agent uuid;
begin
    if v_account is null then
        perform public._refuse('FX422', 'broker_connection_required', 'broker_connection_id');
    end if;
    perform from public.broker_connections b where b.id = v_account for key share;
    select a.id into v_agent
    from public.mt5_agents a
    where a.broker_connection_id = v_account and a.user_id = p_user_id and a.revoked_at is null
      and greatest(a.last_heartbeat, a.last_seen_at) > public._now() - interval '10 minutes'
    order by greatest(a.last_heartbeat, a.last_seen_at) desc, a.id
    limit 1
    for key share;
    if v_agent is null then
        perform public._refuse('FX503', 'agent_offline', 'broker_connection_id');
    end if;
    return query select v_agent, v_account;
end;
$$;
