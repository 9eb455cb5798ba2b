-- public.claim_next_job: takes the next job that an agent may work on.
-- Returns: the job, which is now running, or no row: nothing is due, or the agent is revoked or unknown.
-- Writes: nothing
-- Locks: what jobengine.claim locks, skipping rows that others hold.
-- Calls: agent_queues, jobengine.claim, _order_step
-- Raises: nothing
-- Notes: Two calls never return the same job. An order is claimed and sent at once.
--   The planner's choices are pinned as in job_list.
create or replace function public.claim_next_job(p_agent_id uuid) returns setof public.jobs
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_requests jsonb;
    v_job record;
begin
    select jsonb_agg(jsonb_build_object(
               'tenant_id', q.user_id, 'queues', q.queues, 'agent_id', q.agent_id, 'limit', 1))
    into v_requests
    from public.agent_queues(array[p_agent_id]) q;
    if v_requests is null then
        return;
    end if;
    select c.job_id, c.lease_epoch into v_job from jobengine.claim(v_requests) c;
    perform public._order_step(s.event, v_job.job_id, v_job.lease_epoch, p_agent_id)
    from unnest(array['claimed', 'sent']) s (event)
    where v_job.job_id is not null;
    return query select j.* from public.jobs j where j.id = v_job.job_id;
end;
$$;
