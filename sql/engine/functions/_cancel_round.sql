-- jobengine._cancel_round: one look for jobs to cancel: in ready, then lease, then ended.
-- Transition: pending | claimed → cancelled
-- Returns: the endings to write, and what was found of which jobs; jobs in flight are in neither.
-- Writes: ready, lease
-- Locks: the ready rows, then the lease rows, each sorted by id (it waits for those that others hold).
-- Calls: nothing
-- Raises: nothing
-- Concurrency: a row that another transaction is moving is waited for; if it has moved on, the next statement
--   or the next round finds it. A lapsed lease has already expired: it counts as ended.
create or replace function jobengine._cancel_round(
    p_job_ids uuid[], p_tenant_id uuid, p_reason text, p_last boolean,
    out endings jobengine._ending[], out stopped jobengine._stopped[]
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_pending jobengine._ending[];
    v_held jobengine._ending[];
    v_asked uuid[];
begin
    with taken as (
        delete from jobengine.ready r
        where r.ctid = any (array(
            select w.ctid from unnest(p_job_ids) i
            cross join lateral (
                select q.ctid from jobengine.ready q
                where q.job_id = i and (p_tenant_id is null or q.tenant_id = p_tenant_id)
                limit 1
                for update
            ) w))
        returning r.job_id, r.attempt, r.lease_epoch
    )
    select coalesce(array_agg((
               t.job_id, j.tenant_id, j.job_type, 'cancelled', null, 'cancelled', p_reason, t.attempt, t.lease_epoch,
               null, null, null, j.live_key, j.wake)::jobengine._ending), '{}')
    into v_pending
    from taken t
    cross join lateral (
        select b.tenant_id, b.job_type, b.live_key, b.wake from jobengine.job b where b.job_id = t.job_id limit 1) j;

    with asked as (
        update jobengine.lease l
        set cancel_reason = coalesce(l.cancel_reason, p_reason)
        where l.job_id = any (p_job_ids) and not l.lapsed and (p_tenant_id is null or l.tenant_id = p_tenant_id)
        returning l.job_id, l.started_at
    )
    select coalesce(array_agg(a.job_id) filter (where a.started_at is not null), '{}'),
           coalesce(array_agg((a.job_id, null, null, null, null, null, null, null, null, null, null, null, null, null)
               ::jobengine._ending) filter (where a.started_at is null), '{}')
    into v_asked, v_held
    from asked a;
    with taken as (
        delete from jobengine.lease l
        where l.job_id = any (array(select h.job_id from unnest(v_held) h)) returning l.*
    )
    select coalesce(array_agg((
               t.job_id, t.tenant_id, t.job_type, 'cancelled', null, 'cancelled', p_reason, t.attempt, t.lease_epoch,
               t.agent_id, t.claimed_at, null, t.live_key, t.wake)::jobengine._ending), '{}')
    into v_held
    from taken t;
    endings := v_pending || v_held;

    select array_agg((s.job_id, s.verdict, s.status)::jobengine._stopped) into stopped
    from (
        select e.job_id, 'ok' as verdict, 'cancelled' as status from unnest(endings) e
        union all
        select a, 'ok', 'running' from unnest(v_asked) a
        union all
        select e.job_id, case when e.status = 'cancelled' then 'duplicate' else 'conflict' end, e.status
        from unnest(p_job_ids) i
        cross join lateral (
            select w.job_id, w.tenant_id, w.status from jobengine.ended w where w.job_id = i limit 1) e
        where p_tenant_id is null or e.tenant_id = p_tenant_id
        union all
        select l.job_id, 'conflict', 'expired'
        from unnest(p_job_ids) i
        cross join lateral (
            select w.job_id, w.tenant_id, w.lapsed from jobengine.lease w where w.job_id = i limit 1) l
        where l.lapsed and (p_tenant_id is null or l.tenant_id = p_tenant_id)
        union all
        select i, 'not_found', null
        from unnest(p_job_ids) i
        where (select p_tenant_id is null or j.tenant_id = p_tenant_id
               from jobengine.job j where j.job_id = i) is not true
    ) s;
    if p_last then
        stopped := stopped || array(
            select (i, 'busy', null)::jobengine._stopped from unnest(p_job_ids) i
            where i not in (select s.job_id from unnest(stopped) s));
    end if;
end;
$$;
