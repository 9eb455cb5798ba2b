-- public.trading_agent: whose prices the user who calls sees.
-- Returns: one row, also for an agent that is offline; none where the account has no agent or is not clear.
-- Writes: nothing
-- Locks: nothing
-- Calls: _user, _trading_account
-- Raises: FX404
-- Notes: The agent that _trading_target would take, were it online. A user without any account sees the prices of an
--   agent without one.
create or replace function public.trading_agent(p_broker_connection_id uuid default null)
returns table (agent_id uuid, broker_connection_id uuid, is_connected boolean)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := public._user();
    v_account uuid := public._trading_account(v_user_id, p_broker_connection_id);
begin
    return query
    select a.agent_id, a.broker_connection_id, a.is_connected
    from public.agents a
    where a.user_id = v_user_id and a.revoked_at is null
      and a.broker_connection_id is not distinct from v_account
      and (v_account is not null
           or not exists (select from public.broker_connections b where b.user_id = v_user_id))
    order by greatest(a.last_heartbeat, a.last_seen_at) desc nulls last, a.agent_id
    limit 1;
end;
$$;
