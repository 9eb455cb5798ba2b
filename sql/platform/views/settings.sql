-- public.settings: a user's profile and settings in one row.
create or replace view public.settings with (security_invoker = true) as
select
    p.id as user_id,
    p.email,
    p.display_name,
    p.timezone,
    p.onboarding_completed_at,
    s.disclaimer_accepted_at,
    s.daily_loss_limit_pct,
    s.risk_per_trade_pct,
    s.max_volume,
    s.max_open_positions,
    s.max_orders_per_minute,
    s.default_volume,
    s.trading_state,
    greatest(p.updated_at, s.updated_at) as updated_at
from public.profiles p
join public.user_settings s on s.user_id = p.id;
