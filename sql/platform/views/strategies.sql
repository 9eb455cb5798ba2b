-- public.strategies: strategies without their secrets, and what became of their signals.
create or replace view public.strategies with (security_invoker = true) as
select
    s.id,
    s.user_id,
    s.name,
    s.broker_connection_id,
    s.is_enabled,
    s.risk_override_pct,
    s.allowed_pairs,
    s.default_volume,
    s.expires_in,
    s.dedup_enabled,
    s.dedup_seconds,
    s.allowed_sources::text[] as allowed_sources,
    s.magic,
    left(s.webhook_secret, 4) as secret_prefix,
    s.secret_rotated_at,
    s.previous_secret_until,
    c.signals,
    c.executed,
    c.failed,
    c.discarded,
    c.pending,
    c.last_signal_at,
    s.created_at,
    s.updated_at
from public.tv_strategies s
cross join lateral (
    select count(*) as signals,
           count(*) filter (where g.status = 'executed') as executed,
           count(*) filter (where g.status = 'failed') as failed,
           count(*) filter (where g.status = 'discarded') as discarded,
           count(*) filter (where g.status = 'pending') as pending,
           max(g.created_at) as last_signal_at
    from public.tv_signals g
    where g.strategy_id = s.id
) c;
