-- public.agent_credentials: what an agent's key is compared with.
-- Returns: one row, or none for an agent that does not exist.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public.agent_credentials(p_agent_id uuid)
returns table (
    user_id uuid, broker_connection_id uuid, key_hash text, key_digest bytea, previous_key_hash text,
    previous_key_digest bytea, previous_key_until timestamptz, revoked_at timestamptz
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select a.user_id, a.broker_connection_id, a.pairing_key_hash, a.pairing_key_digest, a.previous_key_hash,
           a.previous_key_digest, a.previous_key_until, a.revoked_at
    from public.mt5_agents a where a.id = p_agent_id
$$;
