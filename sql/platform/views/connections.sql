-- public.connections: broker accounts as their owner sees them.
create or replace view public.connections with (security_invoker = true) as
select
    b.id,
    b.name,
    b.broker,
    b.server,
    b.login,
    b.account_currency,
    b.account_mode,
    b.margin_mode,
    b.is_default,
    b.status,
    b.symbol_map,
    b.symbol_suffix,
    b.last_balance,
    b.last_equity,
    b.snapshot_at,
    b.created_at,
    b.updated_at
from public.broker_connections b;
