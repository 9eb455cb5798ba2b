-- jobengine.jobs: every job with where it stands now. One statement sees one snapshot, in which a job is in
-- exactly one of ready, lease and ended. `status` is computed and has no index: ask by job_id here, and let
-- jobengine.list and jobengine.count drive from the table of the status asked for.
create or replace view jobengine.jobs with (security_invoker = true) as
select
    j.job_id,
    j.tenant_id,
    j.queue,
    j.job_type,
    j.priority,
    case
        when r.job_id is not null then 'pending'
        when l.lapsed then 'expired'
        when l.job_id is not null then case when l.started_at is null then 'claimed' else 'running' end
        else e.status
    end as status,
    coalesce(r.attempt, l.attempt, e.attempt) as attempt,
    j.max_attempts,
    coalesce(r.lease_epoch, l.lease_epoch, e.lease_epoch) as lease_epoch,
    j.delivery,
    j.input,
    j.meta,
    e.output,
    e.error_code,
    e.error_message,
    coalesce(l.agent_id, e.agent_id) as agent_id,
    l.cancel_reason,
    j.dedup_key,
    j.live_key,
    j.created_at,
    r.run_at,
    coalesce(r.expires_at, l.expires_at) as expires_at,
    case when not l.lapsed then l.claimed_at else e.claimed_at end as claimed_at,
    coalesce(l.started_at, e.started_at) as started_at,
    case when not l.lapsed then l.lease_expires_at end as lease_expires_at,
    e.finished_at,
    e.settled_status,
    e.settle_error,
    e.settle_at
from jobengine.job j
left join jobengine.ready r on r.job_id = j.job_id
left join jobengine.lease l on l.job_id = j.job_id
left join jobengine.ended e on e.job_id = j.job_id;
