-- jobengine._finish_late: answers reports on jobs that their reporter does not hold (any more).
-- Transition: unknown → completed | failed
-- Returns: per item its number, job, verdict and status, as finish.
-- Writes: ended, failure
-- Locks: its ended rows, which finish has locked in order; then the parents, by id.
-- Calls: _settle_ended, _finish_verdict
-- Raises: nothing
-- Concurrency: an unknown job is resolved by its newest lease however late: it gets no second lease after its
--   start, so late is not stale. Everything else only learns what happened meanwhile.
create or replace function jobengine._finish_late(
    p_job_ids uuid[], p_lease_epochs integer[], p_outcomes text[], p_outputs jsonb[],
    p_error_codes text[], p_error_messages text[], p_done integer[], p_now timestamptz
) returns table (item integer, job_id uuid, verdict text, status text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_resolved integer[];
    v_failed uuid[];
begin
    with report as (
        select distinct on (u.job_id) u.*
        from unnest(p_job_ids, p_lease_epochs, p_outcomes, p_outputs, p_error_codes, p_error_messages)
            with ordinality u (job_id, lease_epoch, outcome, output, error_code, error_message, item)
        cross join lateral (
            select w.lease_epoch, w.status from jobengine.ended w where w.job_id = u.job_id limit 1) e
        where u.item <> all (coalesce(p_done, '{}')) and u.outcome in ('completed', 'failed', 'rejected')
          and e.lease_epoch = u.lease_epoch and e.status = 'unknown'
        order by u.job_id, u.item
    ), resolved as (
        update jobengine.ended e
        set status = case when r.outcome = 'completed' then 'completed' else 'failed' end,
            output = r.output, error_code = r.error_code, error_message = r.error_message, finished_at = p_now
        from report r where e.job_id between r.job_id and r.job_id
    )
    select array_agg(r.item::integer) into v_resolved from report r;
    v_failed := jobengine._settle_ended(
        array(select p_job_ids[i] from unnest(v_resolved) i order by 1), p_now);
    insert into jobengine.failure (
        job_id, lease_epoch, attempt, reported_by, agent_id, error_code, error_message, failed_at)
    select e.job_id, e.lease_epoch, e.attempt, 'holder', e.agent_id, e.error_code, e.error_message, p_now
    from unnest(v_resolved) i
    cross join lateral (
        select w.job_id, w.lease_epoch, w.attempt, w.agent_id, w.error_code, w.error_message, w.status
        from jobengine.ended w where w.job_id = p_job_ids[i] limit 1
    ) e
    where e.status = 'failed'
    on conflict (job_id, lease_epoch) do nothing;
    return query
    select u.item::integer, u.job_id, v.verdict, v.status
    from unnest(p_job_ids, p_lease_epochs, p_outcomes) with ordinality u (job_id, lease_epoch, outcome, item)
    cross join lateral jobengine._finish_verdict(u.job_id, u.lease_epoch, u.outcome) f
    cross join lateral (
        select case when u.item <> all (coalesce(v_resolved, '{}')) then f.verdict
                    when u.job_id = any (v_failed) then 'settle_failed' else 'ok' end, f.status) v (verdict, status)
    where u.item <> all (coalesce(p_done, '{}'));
end;
$$;
