-- public._replayed_order: where an order went.
-- Returns: one row; agent and account are null where the job was pruned.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: nothing
create or replace function public._replayed_order(p_job_id uuid)
returns table (job_id uuid, agent_id uuid, broker_connection_id uuid)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select p_job_id, (j.meta ->> 'agent_id')::uuid, (j.meta ->> 'broker_connection_id')::uuid
    from (select p_job_id as id) i
    left join lateral (select b.meta from jobengine.job b where b.job_id = i.id limit 1) j on true
$$;
