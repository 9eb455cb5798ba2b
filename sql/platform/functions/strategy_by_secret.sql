-- public.strategy_by_secret: tells whose strategy a webhook's secret is of: how an alert is authenticated.
-- Returns: one row, or none for a secret that is nobody's.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public.strategy_by_secret(p_webhook_secret text)
returns table (strategy_id uuid, user_id uuid, is_enabled boolean)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.user_id, s.is_enabled from public.tv_strategies s where s.webhook_secret = p_webhook_secret
$$;
