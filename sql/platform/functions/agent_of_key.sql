-- public.agent_of_key: whose key has this digest.
-- Returns: the agent's id; null where it is nobody's, of a revoked agent, or a former key whose time is over.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
create or replace function public.agent_of_key(p_key_digest bytea) returns uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
    select w.id
    from (
        select a.id from public.mt5_agents a where a.pairing_key_digest = p_key_digest and a.revoked_at is null
        union all
        select a.id from public.mt5_agents a
        where a.previous_key_digest = p_key_digest and a.previous_key_until > public._now() and a.revoked_at is null
    ) w
    limit 1
$$;
