-- jobengine.finish: reports what became of held jobs.
-- Transition: claimed → completed | failed | cancelled | pending;
--   running → completed | failed | cancelled | unknown | pending; unknown → completed | failed
-- Returns: per item its number, job, verdict and the job's status: `ok`; `retried` (back to wait); `settle_failed`
--   (recorded, the parent follows later); `duplicate` (reported before); `conflict` (same lease, ended another
--   way); `stale_lease`; `not_found`.
-- Writes: lease, ready, failure
-- Locks: its leases, then the unknown jobs that it names, each sorted by id (it waits for those that others
--   hold); then what _end and _finish_late lock.
-- Calls: _now, _check_reports, _backoff, _lock_unknown, _end, _finish_late
-- Raises: JE002
-- Concurrency: only the newest lease counts. Outcomes: completed, failed (again later while attempts are left,
--   unless begun and at_most_once), rejected (failed for good), cancelled, unknown (of an at_least_once job: as
--   failed), snooze (back after p_delays seconds, no attempt spent). One delete with an ordered outer side
--   replaces lock-then-delete, which writes each lease twice; `between`, as an equality may be walked from the
--   other side, through the whole index, by a plan from the time when `lease` was small.
create or replace function jobengine.finish(
    p_job_ids uuid[],
    p_lease_epochs integer[],
    p_outcomes text[],
    p_outputs jsonb[] default null,
    p_error_codes text[] default null,
    p_error_messages text[] default null,
    p_delays double precision[] default null
) returns table (item integer, job_id uuid, verdict text, status text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_endings jobengine._ending[];
    v_items integer[];
    v_statuses text[];
    v_failed uuid[];
begin
    perform jobengine._check_reports(
        p_job_ids, p_lease_epochs, p_outcomes, p_outputs, p_error_codes, p_error_messages, p_delays);
    with judged as (
        delete from jobengine.lease l
        using (
            select u.* from unnest(p_job_ids, p_lease_epochs, p_outcomes, p_outputs,
                                   p_error_codes, p_error_messages, p_delays) with ordinality
                as u (job_id, lease_epoch, outcome, output, error_code, error_message, delay, item)
            order by u.job_id, u.item
        ) i
        where l.job_id between i.job_id and i.job_id and l.lease_epoch = i.lease_epoch and not l.lapsed
        returning i.outcome, i.output, i.error_code, i.error_message, i.delay, i.item,
            l.job_id, l.tenant_id, l.queue, l.priority, l.job_type, l.lease_epoch, l.attempt, l.lost, l.agent_id,
            l.claimed_at, l.started_at, l.expires_at, l.live_key, l.wake, l.cancel_reason,
            case
                when i.outcome = 'completed' then 'completed'
                when i.outcome = 'cancelled' then 'cancelled'
                when i.outcome = 'rejected' then 'failed'
                when i.outcome = 'snooze' then case when l.cancel_reason is null then 'pending' else 'cancelled' end
                when l.started_at is not null and l.delivery = 'at_most_once' then i.outcome    -- failed or unknown
                when l.attempt >= l.max_attempts then 'failed'
                when l.cancel_reason is not null then 'cancelled'
                else 'pending'
            end as status
    ), noted as (
        insert into jobengine.failure (
            job_id, lease_epoch, attempt, reported_by, agent_id, error_code, error_message, failed_at)
        select j.job_id, j.lease_epoch, j.attempt, 'holder', j.agent_id, j.error_code, j.error_message, v_now
        from judged j
        where j.outcome in ('failed', 'rejected', 'unknown')
    ), returned as (
        insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
        select j.job_id, j.tenant_id, j.queue, j.priority,
               v_now + case when j.outcome = 'snooze' then make_interval(secs => coalesce(j.delay, 0))
                            when j.delay is not null then make_interval(secs => j.delay)
                            else jobengine._backoff(j.attempt, t.backoff_seconds, t.backoff_max_seconds) end,
               case when j.outcome = 'snooze' then j.attempt - 1 else j.attempt end, j.lease_epoch,
               case when j.outcome = 'snooze' then 0 else j.lost end, j.expires_at
        from judged j
        join jobengine.job_type t on t.job_type = j.job_type
        where j.status = 'pending'
    )
    select array_agg((
               j.job_id, j.tenant_id, j.job_type, j.status, j.output,
               coalesce(j.error_code, case when j.status = 'cancelled' then 'cancelled' end),
               coalesce(j.error_message, case when j.status = 'cancelled' then j.cancel_reason end),
               j.attempt, j.lease_epoch, j.agent_id, j.claimed_at, j.started_at, j.live_key, j.wake
           )::jobengine._ending) filter (where j.status <> 'pending'),
           array_agg(j.item::integer), array_agg(j.status)
    into v_endings, v_items, v_statuses
    from judged j;
    if coalesce(cardinality(v_items), 0) < cardinality(p_job_ids) then
        perform jobengine._lock_unknown(p_job_ids);
    end if;
    if v_endings is not null then
        v_failed := jobengine._end(v_endings, v_now);
    end if;
    return query
    select j.item, p_job_ids[j.item],
           case when j.status = 'pending' then 'retried'
                when p_job_ids[j.item] = any (v_failed) then 'settle_failed' else 'ok' end,
           j.status
    from unnest(v_items, v_statuses) j (item, status);
    if coalesce(cardinality(v_items), 0) < cardinality(p_job_ids) then
        return query select * from jobengine._finish_late(
            p_job_ids, p_lease_epochs, p_outcomes, p_outputs, p_error_codes, p_error_messages, v_items, v_now);
    end if;
end;
$$;
