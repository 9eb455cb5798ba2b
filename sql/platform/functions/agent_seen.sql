-- public.agent_seen: notes that agents gave a sign of life, any authenticated call.
-- Returns: how many rows were written: at most one per agent in 15 seconds.
-- Writes: mt5_agents
-- Locks: the agents' rows, by id, skipping those that others hold: they are noting a sign of life as well.
-- Calls: _now
-- Raises: nothing
create or replace function public.agent_seen(p_agent_ids uuid[]) returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := public._now();
    v_written integer;
begin
    update public.mt5_agents a
    set last_seen_at = v_now, is_connected = true
    where a.id = any (array(
        select w.id from public.mt5_agents w
        where w.id = any (p_agent_ids) and w.revoked_at is null
          and (w.last_seen_at is null or w.last_seen_at <= v_now - interval '15 seconds')
        order by w.id
        for no key update skip locked));
    get diagnostics v_written = row_count;
    return v_written;
end;
$$;
