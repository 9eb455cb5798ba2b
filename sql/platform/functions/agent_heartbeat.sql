-- public.agent_heartbeat: an agent says that it lives and how it is.
-- Returns: one row; config is null unless it changed since the version in metrics.config_version, or since the
--   newest that was sent where the agent does not tell one.
-- Writes: mt5_agents
-- Locks: the agent's row.
-- Calls: _now, _refuse
-- Raises: FX404, FX422
create or replace function public.agent_heartbeat(
    p_agent_id uuid, p_status text default null, p_metrics jsonb default null, p_agent_version text default null
) returns table (
    acknowledged boolean, config jsonb, config_version integer, heartbeat_seconds integer, trading_state text
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_now timestamptz := public._now();
    v_known integer;
begin
    perform public._refuse('FX422', 'invalid', r.field, r.rule)
    from (values
        ('status', 'at most 100 characters', coalesce(length(p_status) <= 100, true)),
        ('agent_version', 'at most 100 characters', coalesce(length(p_agent_version) <= 100, true)),
        ('metrics', 'a JSON object of at most 16 KiB',
            coalesce(jsonb_typeof(p_metrics) = 'object' and length(p_metrics::text) <= 16384, true))
    ) r (field, rule, holds)
    where not r.holds
    limit 1;
    select case when p_metrics ->> 'config_version' ~ '^[0-9]{1,9}$'
                then (p_metrics ->> 'config_version')::integer else a.config_sent_version end
    into v_known
    from public.mt5_agents a where a.id = p_agent_id and a.revoked_at is null;
    if not found then
        perform public._refuse('FX404', 'not_found', 'agent_id');
    end if;
    return query
    update public.mt5_agents a
    set is_connected = true,
        last_heartbeat = v_now,
        last_seen_at = v_now,
        status = coalesce(p_status, a.status),
        metrics = coalesce(p_metrics, a.metrics),
        agent_version = coalesce(p_agent_version, a.agent_version),
        config_sent_version = a.config_version
    from public.user_settings s
    where a.id = p_agent_id and s.user_id = a.user_id
    returning true, case when a.config_version <> v_known then a.config end, a.config_version, 30, s.trading_state;
end;
$$;
