-- public._strategy_of: the strategy of a webhook's secret that came at some time.
-- Returns: the strategy, or null for a secret that is nobody's, or was rotated away long enough before.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
-- Notes: A former secret is judged by when the alert came: it may have waited in the spool beyond the overlap.
create or replace function public._strategy_of(p_secret_digest bytea, p_received_at timestamptz)
returns public.tv_strategies
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
    select s from public.tv_strategies s where s.secret_digest = p_secret_digest
    union all
    select s from public.tv_strategies s
    where s.previous_secret_digest = p_secret_digest and s.previous_secret_until > least(p_received_at, public._now())
    limit 1
$$;
