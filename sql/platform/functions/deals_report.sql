-- public.deals_report: an agent tells the deals of its account, and what the account is worth.
-- Returns: one row: how many deals came, how many of them were new, how many unknown orders they resolved.
-- Writes: nothing
-- Locks: what jobengine.finish locks, then signals, then the account (it waits for who holds it), then the days' rows.
-- Calls: _refuse, _check_deals, _resolve_orders, _correct_signals, _note_deals, _note_account
-- Raises: FX404, FX409, FX422
-- Notes: A deal is noted once per account, whoever tells it and how often, and counted with it. p_account: balance,
--   equity, margin_used, margin_available, open_positions, each if it is known.
create or replace function public.deals_report(p_agent_id uuid, p_deals jsonb, p_account jsonb default null)
returns table (received integer, new integer, resolved integer)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_agent record;
    v_resolved integer;
    v_new integer;
begin
    select a.user_id, a.broker_connection_id into v_agent
    from public.mt5_agents a where a.id = p_agent_id and a.revoked_at is null;
    if not found then
        perform public._refuse('FX404', 'not_found', 'agent_id');
    end if;
    perform public._refuse('FX409', 'agent_without_account', 'agent_id') where v_agent.broker_connection_id is null;
    perform public._check_deals(p_deals, p_account);
    v_resolved := public._resolve_orders(v_agent.user_id, v_agent.broker_connection_id, p_deals);
    perform public._correct_signals(v_agent.user_id, v_agent.broker_connection_id, p_deals);
    perform from public.broker_connections b where b.id = v_agent.broker_connection_id for no key update;
    v_new := public._note_deals(p_agent_id, v_agent.user_id, v_agent.broker_connection_id, p_deals);
    if p_account is not null then
        perform public._note_account(v_agent.user_id, v_agent.broker_connection_id, p_account);
    end if;
    return query select jsonb_array_length(p_deals), v_new, v_resolved;
end;
$$;
