-- jobengine._take_each: leases the first due job of each of many requests, in one statement.
-- Transition: pending → claimed | running | expired
-- Returns: the jobs taken and, beside each, its request; `unsure`: the first request that wanted a job which
--   another of them took, or which has lapsed. It and those after it have no answer yet.
-- Writes: ready, lease
-- Locks: its ready rows, skipping those that others hold.
-- Calls: nothing
-- Raises: nothing
-- Concurrency: as _take, and as if the requests had come one after the other: up to the first that is unsure
--   nobody is in anybody's way. Each names one tenant and wants one job. One that finds nothing costs 40 us
--   here and 200 us in a _take of its own, one that finds a job 60 and 300 (100 requests a call).
create or replace function jobengine._take_each(
    p_requests jobengine._claim_request[], p_now timestamptz,
    out held jobengine._held[], out requests integer[], out unsure integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set plan_cache_mode = force_generic_plan
as $$
begin
    with picked as materialized (
        select r.request, r.agent_id, r.request_id, r.two_phase, l.ctid,
               row_number() over (partition by l.ctid order by r.request) > 1 or l.expires_at <= p_now as unsure
        from unnest(p_requests) r
        cross join lateral (
            select w.ctid, w.expires_at
            from (
                select p.priority, q.queue
                from generate_series(0, 9) p (priority)
                cross join unnest(r.queues) with ordinality q (queue, place)
                order by p.priority, q.place
            ) s
            cross join lateral (
                select d.ctid, d.expires_at from jobengine.ready d
                where d.tenant_id = r.tenants[1] and d.queue = s.queue and d.priority = s.priority
                  and d.run_at <= p_now
                order by d.run_at, d.job_id
                limit 1
                for update skip locked
            ) w
            limit 1
        ) l
    ), first_unsure as (
        select min(p.request) as request from picked p where p.unsure
    ), due as (
        delete from jobengine.ready r
        using picked p
        where r.ctid = p.ctid and p.request < coalesce((select f.request from first_unsure f), 2147483647)
        returning p.request, p.agent_id, p.request_id, p.two_phase, r.job_id, r.tenant_id, r.queue, r.priority,
                  r.run_at, r.attempt, r.lease_epoch, r.lost, r.expires_at
    ), leased as (
        select d.*, j.job_type, j.input, j.meta, j.max_attempts, j.delivery, j.wake, j.live_key, j.created_at,
               j.lease_seconds,
               p_now + make_interval(secs => j.lease_seconds) as lease_expires_at,
               case when d.two_phase = 'always'
                         or d.two_phase = 'at_most_once' and j.delivery = 'at_most_once' then null
                    else p_now end as started_at
        from due d
        cross join lateral (
            select b.job_type, b.input, b.meta, b.max_attempts, b.lease_seconds, b.delivery, b.wake, b.live_key,
                   b.created_at
            from jobengine.job b where b.job_id = d.job_id limit 1    -- as a join it may be walked whole
        ) j
    ), written as (
        insert into jobengine.lease (
            job_id, tenant_id, queue, priority, job_type, delivery, max_attempts, wake, live_key, expires_at,
            lease_epoch, attempt, lost, agent_id, claimed_at, started_at, lease_expires_at, request_id)
        select l.job_id, l.tenant_id, l.queue, l.priority, l.job_type, l.delivery, l.max_attempts, l.wake,
               l.live_key, l.expires_at, l.lease_epoch + 1, l.attempt + 1,
               case when l.started_at is null then l.lost else 0 end,
               l.agent_id, p_now, l.started_at, l.lease_expires_at, l.request_id
        from leased l
    )
    select array_agg((
               l.job_id, l.tenant_id, l.queue, l.job_type, l.priority, l.input, l.meta, l.run_at, l.attempt + 1,
               l.max_attempts, l.lease_epoch + 1, l.lease_expires_at, l.lease_seconds, l.started_at, l.delivery,
               l.expires_at, l.created_at)::jobengine._held order by l.request),
           array_agg(l.request order by l.request),
           (select f.request from first_unsure f)
    into held, requests, unsure
    from leased l;
end;
$$;
