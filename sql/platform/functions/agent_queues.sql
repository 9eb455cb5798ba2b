-- public.agent_queues: the tenant and the queues that agents may claim from.
-- Returns: one row per agent that exists and is not revoked, by id; the queues in the order to serve them.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
-- Notes: The one place that says who may take what: an agent takes what is meant for itself, for its broker account,
--   or for anybody, of its own user.
create or replace function public.agent_queues(p_agent_ids uuid[])
returns table (agent_id uuid, user_id uuid, queues text[])
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select a.id, a.user_id,
           array_remove(array['agent/' || a.id, 'broker/' || a.broker_connection_id, 'any'], null)
    from public.mt5_agents a
    where a.id = any (p_agent_ids) and a.revoked_at is null
    order by a.id
$$;
