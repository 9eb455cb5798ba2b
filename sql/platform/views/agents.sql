-- public.agents: agents without their secrets. Any sign of life counts for `status`: online below 6 minutes,
-- degraded below 10, then offline.
create or replace view public.agents with (security_invoker = true) as
select
    a.id as agent_id,
    a.user_id,
    a.name,
    a.broker_connection_id,
    a.pairing_key_prefix as key_prefix,
    a.platform,
    a.agent_version,
    a.is_connected and a.revoked_at is null and s.status <> 'offline' as is_connected,
    a.last_heartbeat,
    a.last_seen_at,
    s.status,
    a.metrics,
    a.config_version,
    a.created_at,
    a.revoked_at
from public.mt5_agents a
cross join lateral (
    select public._now() - greatest(a.last_heartbeat, a.last_seen_at) as silence
) l
cross join lateral (
    select case when l.silence < interval '6 minutes' then 'online'
                when l.silence < interval '10 minutes' then 'degraded'
                else 'offline' end as status
) s;
