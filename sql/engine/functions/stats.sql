-- jobengine.stats: what waits and what is held, per queue, and what needs an operator.
-- Transition: none
-- Returns: a row per tenant and queue with live jobs, unsettled or unknown ones.
-- Writes: nothing
-- Locks: nothing
-- Calls: _now
-- Raises: nothing
-- Concurrency: safe; one snapshot. Reads all of `ready` and `lease` (of the tenant): for people, not for loops.
create or replace function jobengine.stats(p_tenant_id uuid default null)
returns table (
    tenant_id uuid, queue text, due bigint, scheduled bigint, claimed bigint, running bigint,
    unknown bigint, unsettled bigint, oldest_due_seconds double precision
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz := jobengine._now();
begin
    return query
    select s.tenant_id, s.queue, sum(s.due)::bigint, sum(s.scheduled)::bigint, sum(s.claimed)::bigint,
           sum(s.running)::bigint, sum(s.unknown)::bigint, sum(s.unsettled)::bigint,
           max(extract(epoch from v_now - s.oldest))::double precision
    from (
        select r.tenant_id, r.queue, count(*) filter (where r.run_at <= v_now) as due,
               count(*) filter (where r.run_at > v_now) as scheduled, 0 as claimed, 0 as running,
               0 as unknown, 0 as unsettled, min(r.run_at) filter (where r.run_at <= v_now) as oldest
        from jobengine.ready r
        where p_tenant_id is null or r.tenant_id = p_tenant_id
        group by r.tenant_id, r.queue
        union all
        select l.tenant_id, l.queue, 0, 0, count(*) filter (where l.started_at is null),
               count(*) filter (where l.started_at is not null), 0, 0, null
        from jobengine.lease l
        where not l.lapsed and (p_tenant_id is null or l.tenant_id = p_tenant_id)
        group by l.tenant_id, l.queue
        union all
        select j.tenant_id, j.queue, 0, 0, 0, 0, count(*) filter (where e.status = 'unknown'),
               count(*) filter (where e.settle_at is not null), null
        from jobengine.ended e
        join jobengine.job j on j.job_id = e.job_id
        where (e.status = 'unknown' or e.settle_at is not null) and (p_tenant_id is null or e.tenant_id = p_tenant_id)
        group by j.tenant_id, j.queue
    ) s
    group by s.tenant_id, s.queue
    order by s.tenant_id, s.queue;
end;
$$;
