-- public._strategy_set: writes the fields of a strategy that p_changes names.
-- Returns: whether there is such a strategy of the user.
-- Writes: tv_strategies
-- Locks: the strategy; it waits for who holds it.
-- Calls: nothing
-- Raises: nothing
-- Notes: The values were checked.
create or replace function public._strategy_set(p_user_id uuid, p_id uuid, p_changes jsonb) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.tv_strategies s
    set name = coalesce(n.name, s.name),
        is_enabled = coalesce(n.is_enabled, s.is_enabled),
        expires_in = coalesce(n.expires_in, s.expires_in),
        dedup_enabled = coalesce(n.dedup_enabled, s.dedup_enabled),
        dedup_seconds = coalesce(n.dedup_seconds, s.dedup_seconds),
        broker_connection_id = case when p_changes ? 'broker_connection_id'
            then n.broker_connection_id else s.broker_connection_id end,
        risk_override_pct = case when p_changes ? 'risk_override_pct'
            then n.risk_override_pct else s.risk_override_pct end,
        default_volume = case when p_changes ? 'default_volume' then n.default_volume else s.default_volume end,
        allowed_pairs = case when p_changes ? 'allowed_pairs' then n.allowed_pairs else s.allowed_pairs end,
        allowed_sources = case when p_changes ? 'allowed_sources' then n.allowed_sources else s.allowed_sources end
    from jsonb_to_record(p_changes) n (
        name text, is_enabled boolean, expires_in integer, dedup_enabled boolean, dedup_seconds integer,
        broker_connection_id uuid, risk_override_pct numeric, default_volume numeric, allowed_pairs text[],
        allowed_sources inet[])
    where s.id = p_id and s.user_id = p_user_id;
    return found;
end;
$$;
