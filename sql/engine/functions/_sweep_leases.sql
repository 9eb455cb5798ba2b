-- jobengine._sweep_leases: takes back leases that ran out or lapsed, the longest gone first.
-- Transition: claimed → pending | failed; running → pending | failed | cancelled | unknown
-- Returns: how many went back to wait and how many ended.
-- Writes: lease, ready, failure
-- Locks: the leases, skipping those that others hold; then what _end locks.
-- Calls: _backoff, _end, _notify_ready
-- Raises: nothing
-- Concurrency: safe. Begun and at_most_once: `unknown`, as the effect may have happened. Begun and at_least_once:
--   the attempt is spent; back with backoff, `failed`/lease_expired after the last, `cancelled` if asked to
--   stop. Not begun: back at once, no attempt spent; after 20 such losses in a row `failed`/undeliverable.
create or replace function jobengine._sweep_leases(
    p_limit integer, p_now timestamptz, out returned integer, out ended integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_endings jobengine._ending[];
    v_tenant_ids uuid[];
    v_queues text[];
begin
    with run_out as materialized (
        select l.job_id from jobengine.lease l
        where l.lease_expires_at <= p_now
        order by l.lease_expires_at
        limit p_limit
        for update skip locked
    ), taken as (
        delete from jobengine.lease l where l.job_id = any (array(select o.job_id from run_out o)) returning l.*
    ), judged as materialized (
        select t.*, case
            when t.lapsed then 'expired'
            when t.started_at is null then case when t.lost + 1 >= 20 then 'failed' else 'pending' end
            when t.delivery = 'at_most_once' then 'unknown'
            when t.attempt >= t.max_attempts then 'failed'
            when t.cancel_reason is not null then 'cancelled'
            else 'pending'
        end as status, case
            when t.lapsed then 'expired'
            when t.started_at is null then 'undeliverable'
            else 'lease_expired'
        end as error_code
        from taken t
    ), noted as (
        insert into jobengine.failure (
            job_id, lease_epoch, attempt, reported_by, agent_id, error_code, error_message, failed_at)
        select j.job_id, j.lease_epoch, j.attempt, 'sweep', j.agent_id, j.error_code, null, p_now
        from judged j
        where j.started_at is not null or j.status = 'failed'
    ), back as (
        insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
        select j.job_id, j.tenant_id, j.queue, j.priority,
               case when j.started_at is null then p_now
                    else p_now + jobengine._backoff(j.attempt, t.backoff_seconds, t.backoff_max_seconds) end,
               case when j.started_at is null then j.attempt - 1 else j.attempt end, j.lease_epoch,
               case when j.started_at is null then j.lost + 1 else j.lost end, j.expires_at
        from judged j
        join jobengine.job_type t on t.job_type = j.job_type
        where j.status = 'pending'
    )
    select array_agg((
               j.job_id, j.tenant_id, j.job_type, j.status, null,
               case when j.status = 'cancelled' then 'cancelled' else j.error_code end, j.cancel_reason, j.attempt,
               j.lease_epoch, j.agent_id, j.claimed_at, j.started_at, j.live_key, j.wake
           )::jobengine._ending order by j.job_id) filter (where j.status <> 'pending'),
           count(*) filter (where j.status = 'pending')::integer,
           count(*) filter (where j.status <> 'pending')::integer,
           array_agg(j.tenant_id) filter (where j.status = 'pending'),
           array_agg(j.queue) filter (where j.status = 'pending')
    into v_endings, returned, ended, v_tenant_ids, v_queues
    from judged j;
    if v_endings is not null then
        perform jobengine._end(v_endings, p_now);
    end if;
    if returned > 0 then
        perform jobengine._notify_ready(v_tenant_ids, v_queues, p_now);
    end if;
end;
$$;
