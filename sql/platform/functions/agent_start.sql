-- public.agent_start: begins jobs of an agent, as the engine's start does, and notes that orders go to the terminal.
-- Returns: what jobengine.start returns.
-- Writes: nothing
-- Locks: what jobengine.start locks.
-- Calls: jobengine.start, _order_step
-- Raises: JE002
create or replace function public.agent_start(p_agent_id uuid, p_job_ids uuid[], p_lease_epochs integer[])
returns table (item integer, job_id uuid, verdict text, lease_expires_at timestamptz)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    for item, job_id, verdict, lease_expires_at in
        select s.item, s.job_id, s.verdict, s.lease_expires_at from jobengine.start(p_job_ids, p_lease_epochs) s
    loop
        if verdict = 'ok' then
            perform public._order_step('sent', job_id, p_lease_epochs[item], p_agent_id);
        end if;
        return next;
    end loop;
end;
$$;
