-- public.claim_next_job: takes the next job that an agent may work on.
-- Returns: the job, which is now running, or no row: nothing is due, or the agent is revoked or unknown.
-- Writes: nothing
-- Locks: the user's settings, with others; it waits for who changes them. Then what _cancel_orders locks, and what
--   jobengine.claim locks, skipping rows that others hold.
-- Calls: agent_queues, _cancel_orders, jobengine.claim, _order_step
-- Raises: JE004
-- Notes: Two calls never return the same job. An order is claimed and sent at once; while the user has halted or
--   reduced trading, waiting trades are cancelled instead.
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
    v_user_id uuid;
    v_requests jsonb;
    v_job record;
begin
    select q.user_id, jsonb_build_array(jsonb_build_object(
               'tenant_id', q.user_id, 'queues', q.queues, 'agent_id', q.agent_id, 'limit', 1))
    into v_user_id, v_requests
    from public.agent_queues(array[p_agent_id]) q;
    if not found then
        return;
    end if;
    perform from public.user_settings s where s.user_id = v_user_id for share;
    perform public._cancel_orders(s.user_id, null, null, 'trading_' || s.trading_state)
    from public.user_settings s where s.user_id = v_user_id and s.trading_state <> 'active';
    select c.job_id, c.lease_epoch into v_job from jobengine.claim(v_requests) c;
    perform public._order_step(s.event, v_job.job_id, v_job.lease_epoch, p_agent_id)
    from unnest(array['claimed', 'sent']) s (event)
    where v_job.job_id is not null;
    return query select j.* from public.jobs j where j.id = v_job.job_id;
end;
$$;
