-- jobengine.claim: takes due jobs for each of a set of requests.
-- Transition: pending → claimed | running | expired
-- Returns: the jobs taken, request by request (`request` counts from 1; repeated ones come first), in the order to
--   work them: by priority, then the queues as given, then run_at. No row for a request that got none.
-- Writes: nothing
-- Locks: advisory locks of the request ids, sorted, before any row; then its ready rows, skipping locked ones.
-- Calls: _now, _claim_requests, _retake, _tenants, _take, _take_each, _first_apart
-- Raises: JE002
-- Concurrency: two claims never take the same job. A request: {"queues": [..], "agent_id": ".., "limit": n} and
--   optionally "tenant_id" (else every tenant, in the order of "tenants" or as found), "request_id" (a repeat
--   gets the same leases, unchanged, while they last), "two_phase" (always | at_most_once | never: which jobs
--   still need start), "marks". At most 1,000 jobs per request lapse in a call.
create or replace function jobengine.claim(p_requests jsonb)
returns table (
    request integer, job_id uuid, tenant_id uuid, queue text, job_type text, priority smallint, input jsonb,
    meta jsonb, run_at timestamptz, attempt integer, max_attempts integer, lease_epoch integer,
    lease_expires_at timestamptz, lease_seconds double precision, started_at timestamptz, delivery text,
    expires_at timestamptz, created_at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v_now timestamptz;
    v_requests jobengine._claim_request[] := jobengine._claim_requests(p_requests);
    v_request jobengine._claim_request;
    v_held jobengine._held[];
    v_numbers integer[];
    v_done integer[] := array[]::integer[];               -- requests that have their answer
    v_next integer := 1;                    -- the first request that has no answer yet
    v_tenant_id uuid;
    v_left integer;
    v_asked integer;
    v_lapsed integer;
    v_may_lapse integer;
begin
    if p_requests @? '$[*].request_id ? (@ != null)' then
        perform pg_advisory_xact_lock(k.key)
        from (select distinct
                     hashtextextended(concat_ws('/', 'jobengine', r.tenant_id, r.agent_id, r.request_id), 0) as key
              from unnest(v_requests) r where r.request_id is not null order by key) k;
        v_now := jobengine._now();
        select t.held, coalesce(t.requests, '{}') into v_held, v_done from jobengine._retake(v_requests, v_now) t;
        return query select * from unnest(v_done, v_held);
    end if;
    v_now := coalesce(v_now, jobengine._now());
    if cardinality(v_requests) > 1 then
        v_next := jobengine._first_apart(v_requests);
        select t.held, t.requests, coalesce(t.unsure, v_next) into v_held, v_numbers, v_next
        from jobengine._take_each(array(
            select r from unnest(v_requests) r where r.request < v_next and r.request <> all (v_done)), v_now) t;
        return query select * from unnest(v_numbers, v_held);
    end if;
    foreach v_request in array v_requests[v_next :] loop
        continue when v_request.request = any (v_done);
        if v_request.request_id is not null and cardinality(v_requests) > 1 then    -- its twin may have been served
            v_held := (select t.held from jobengine._retake(array[v_request], v_now) t);
            return query select v_request.request, h.* from unnest(v_held) h;
            continue when v_held is not null;
        end if;
        v_left := v_request.max_jobs;
        v_may_lapse := 1000;
        if v_request.tenants is null then
            v_request.tenants := array(select t from jobengine._tenants() t);
        end if;
        foreach v_tenant_id in array v_request.tenants loop
            loop
                v_asked := least(v_left, v_may_lapse);
                select t.held, t.lapsed into v_held, v_lapsed
                from jobengine._take(
                    v_tenant_id, v_request.queues, v_asked, v_request.agent_id,
                    v_request.request_id, v_request.two_phase, v_request.marks, v_now) t;
                return query select v_request.request, h.* from unnest(v_held) h;
                v_left := v_left - coalesce(cardinality(v_held), 0);
                v_may_lapse := v_may_lapse - v_lapsed;
                exit when coalesce(cardinality(v_held), 0) + v_lapsed < v_asked or v_left = 0 or v_may_lapse = 0;
            end loop;
            exit when v_left = 0 or v_may_lapse = 0;
        end loop;
    end loop;
end;
$$;
