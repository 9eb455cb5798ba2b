-- jobengine._enqueue_keyed: writes jobs of which some carry a key, each key's first job only.
-- Transition: none → pending
-- Returns: item, job_id, `ok` | `duplicate` | `busy`.
-- Writes: live_key, job, ready
-- Locks: live keys, then dedup keys, each sorted: two calls wait for each other, never in a circle.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: the insert waits for another call that is about to write the same key; the loser reads the
--   winner's id in a statement of its own, whose snapshot is newer. Should the winner have gone meanwhile
--   (rolled back, ended, pruned), the item starts again, 20 rounds at most.
create or replace function jobengine._enqueue_keyed(p_jobs jobengine._new_job[], p_now timestamptz)
returns table (item integer, job_id uuid, verdict text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
    v_open jobengine._new_job[] := p_jobs;
    v_live uuid[];
    v_new uuid[];
    v_answered jobengine._answer[];
begin
    for v_round in 1 .. 20 loop
        with won as (
            insert into jobengine.live_key (tenant_id, live_key, job_id)
            select n.tenant_id, n.live_key, n.job_id from unnest(v_open) n
            where n.live_key is not null
            order by n.tenant_id, n.live_key, n.item
            on conflict (tenant_id, live_key) do nothing
            returning job_id
        )
        select coalesce(array_agg(w.job_id), '{}') into v_live from won w;

        with written as (
            insert into jobengine.job (
                job_id, tenant_id, queue, job_type, priority, input, meta,
                max_attempts, lease_seconds, delivery, dedup_key, live_key, wake, created_at)
            select n.job_id, n.tenant_id, n.queue, n.job_type, n.priority, n.input, n.meta,
                   n.max_attempts, n.lease_seconds, n.delivery, n.dedup_key, n.live_key, n.wake, p_now
            from unnest(v_open) n
            where n.live_key is null or n.job_id in (select l from unnest(v_live) l)
            order by n.tenant_id, n.dedup_key, n.item
            on conflict (tenant_id, dedup_key) where dedup_key is not null do nothing
            returning job_id
        )
        select coalesce(array_agg(w.job_id), '{}') into v_new from written w;

        insert into jobengine.ready (job_id, tenant_id, queue, priority, run_at, attempt, lease_epoch, lost, expires_at)
        select n.job_id, n.tenant_id, n.queue, n.priority, n.run_at, 0, 0, 0, n.expires_at
        from unnest(v_open) n where n.job_id in (select w from unnest(v_new) w);

        select array_agg((a.item, a.job_id, a.verdict)::jobengine._answer) into v_answered
        from (
            select n.item, n.job_id, 'ok' as verdict from unnest(v_open) n
            where n.job_id in (select w from unnest(v_new) w)
            union all
            select n.item, j.job_id, 'duplicate' from unnest(v_open) n
            cross join lateral (
                select w.job_id from jobengine.job w
                where w.tenant_id = n.tenant_id and w.dedup_key = n.dedup_key limit 1) j
            where not exists (select from unnest(v_new) w where w = n.job_id)
            union all
            select n.item, k.job_id, 'duplicate' from unnest(v_open) n
            cross join lateral (
                select w.job_id from jobengine.live_key w
                where w.tenant_id = n.tenant_id and w.live_key = n.live_key limit 1) k
            where not exists (select from unnest(v_new) w where w = n.job_id)
        ) a;
        return query select * from unnest(v_answered);

        select array_agg(n order by n.item) into v_open from unnest(v_open) n
        where not exists (select from unnest(v_answered) a where a.item = n.item);
        exit when v_open is null;
    end loop;
    return query select n.item, null::uuid, 'busy' from unnest(v_open) n;
end;
$$;
