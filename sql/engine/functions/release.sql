-- jobengine.release: gives held jobs back unused, at once.
-- Transition: claimed | running → pending; running → cancelled
-- Returns: per item its number, job and verdict: `ok`; `conflict` (begun and at_most_once: report what became of
--   it instead); `stale_lease`; `not_found`.
-- Writes: lease, ready
-- Locks: its leases, sorted by id.
-- Calls: _now, _check_items, _end, _notify_ready, _strayed
-- Raises: JE002
-- Concurrency: safe. No attempt is spent and nothing counts as lost; a job that was asked to stop ends
--   `cancelled` instead. `between` as in finish.
create or replace function jobengine.release(p_job_ids uuid[], p_lease_epochs integer[])
returns table (item integer, job_id uuid, verdict text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
    v_endings jobengine._ending[];
    v_items integer[];
    v_tenant_ids uuid[];
    v_queues text[];
begin
    perform jobengine._check_items(p_job_ids, p_lease_epochs);
    with taken as (
        delete from jobengine.lease l
        using (select * from unnest(p_job_ids, p_lease_epochs) with ordinality u (job_id, lease_epoch, item)
               order by u.job_id, u.item) i
        where l.job_id between i.job_id and i.job_id and l.lease_epoch = i.lease_epoch and not l.lapsed
          and (l.started_at is null or l.delivery = 'at_least_once')
        returning i.item, l.*
    ), returned as (
        insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
        select t.job_id, t.tenant_id, t.queue, t.priority, v_now, t.attempt - 1, t.lease_epoch, t.lost, t.expires_at
        from taken t
        where t.cancel_reason is null
    )
    select array_agg(t.item::integer), array_agg(t.tenant_id), array_agg(t.queue), array_agg((
               t.job_id, t.tenant_id, t.job_type, 'cancelled', null, 'cancelled', t.cancel_reason, t.attempt,
               t.lease_epoch, t.agent_id, t.claimed_at, t.started_at, t.live_key, t.wake
           )::jobengine._ending order by t.job_id) filter (where t.cancel_reason is not null)
    into v_items, v_tenant_ids, v_queues, v_endings
    from taken t;
    if v_endings is not null then
        perform jobengine._end(v_endings, v_now);
    end if;
    if v_items is not null then
        perform jobengine._notify_ready(v_tenant_ids, v_queues, v_now);
    end if;
    return query
    select i.item::integer, i.job_id,
           case when i.item = any (v_items) then 'ok'
                when (select not l.lapsed from jobengine.lease l
                      where l.job_id = i.job_id and l.lease_epoch = i.lease_epoch) then 'conflict'
                else jobengine._strayed(i.job_id) end
    from unnest(p_job_ids, p_lease_epochs) with ordinality i (job_id, lease_epoch, item)
    order by i.item;
end;
$$;
