-- public.jobs: the engine's jobs with the names of the source documents. The caller's rights count: a user sees
-- the jobs of one tenant, the user. `agent_id` is the holder, else the agent whose queue it is in.
create or replace view public.jobs with (security_invoker = true) as
select
    j.job_id as id,
    j.tenant_id as user_id,
    coalesce(public._uuid(j.agent_id), public._uuid(substring(j.queue from '^agent/(.*)'))) as agent_id,
    public._uuid(j.meta ->> 'broker_connection_id') as broker_connection_id,
    j.job_type,
    j.status,
    j.priority,
    j.queue,
    j.input as input_data,
    j.output as output_data,
    j.error_code,
    j.error_message,
    j.meta ->> 'parent_type' as parent_type,
    public._uuid(j.meta ->> 'parent_id') as parent_id,
    j.dedup_key,
    j.live_key,
    j.attempt,
    j.max_attempts,
    j.lease_epoch,
    j.cancel_reason,
    j.created_at,
    j.run_at,
    j.expires_at,
    j.claimed_at,
    j.started_at,
    j.lease_expires_at,
    j.finished_at
from jobengine.jobs j;
