-- public.agent_set_digest: remembers the digest of a key that its bcrypt hash has verified.
-- Returns: whether the agent still has that hash, as its key or as its previous one.
-- Writes: mt5_agents
-- Locks: the agent's row.
-- Calls: nothing
-- Raises: nothing
create or replace function public.agent_set_digest(p_agent_id uuid, p_key_hash text, p_key_digest bytea)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
    with changed as (
        update public.mt5_agents a
        set pairing_key_digest = case when a.pairing_key_hash = p_key_hash
                then p_key_digest else a.pairing_key_digest end,
            previous_key_digest = case when a.previous_key_hash = p_key_hash
                then p_key_digest else a.previous_key_digest end
        where a.id = p_agent_id and a.revoked_at is null and length(p_key_digest) = 32
          and p_key_hash in (a.pairing_key_hash, a.previous_key_hash)
        returning a.id
    )
    select exists (select from changed)
$$;
