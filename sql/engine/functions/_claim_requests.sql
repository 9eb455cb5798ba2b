-- jobengine._claim_requests: reads and checks the requests of a claim.
-- Transition: none
-- Returns: the requests in order, `tenants` being the one tenant where one is named.
-- Writes: nothing
-- Locks: nothing
-- Calls: _invalid
-- Raises: JE002
-- Concurrency: safe.
create or replace function jobengine._claim_requests(p_requests jsonb) returns jobengine._claim_request[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(p_requests) is distinct from 'array' or p_requests @? 'strict $[*] ? (@.type() != "object")' then
        perform jobengine._invalid('requests', 'an array of objects');
    end if;
    perform jobengine._invalid(b.broken[1], b.broken[2], b.item::integer)
    from jsonb_array_elements(p_requests) with ordinality e (request, item)
    cross join lateral (
        select case
            when jsonb_typeof(e.request -> 'queues') is distinct from 'array'
                or jsonb_array_length(e.request -> 'queues') not between 1 and 100
                or jsonb_path_exists(e.request -> 'queues', '$[*] ? (@.type() != "string")') then
                array['queues', 'an array of 1 to 100 names']
            when jsonb_typeof(e.request -> 'agent_id') is distinct from 'string'
                or length(e.request ->> 'agent_id') not between 1 and 200 then array['agent_id', '1 to 200 characters']
            when jsonb_typeof(e.request -> 'limit') is distinct from 'number'
                or (e.request -> 'limit')::numeric not between 1 and 10000 then array['limit', 'from 1 to 10000']
            when coalesce(e.request ->> 'two_phase', 'never') not in ('always', 'at_most_once', 'never') then
                array['two_phase', 'always, at_most_once or never']
        end, e.item
    ) b (broken, item)
    where b.broken is not null
    order by b.item
    limit 1;
    return array(
        select (e.item, r.tenant_id,
                case when r.tenant_id is not null then array[r.tenant_id] else r.tenants end,
                r.queues, r.agent_id, r."limit"::integer, r.request_id, coalesce(r.two_phase, 'never'),
                coalesce(r.marks, '[]'))::jobengine._claim_request
        from jsonb_array_elements(p_requests) with ordinality e (request, item)
        cross join lateral jsonb_to_record(e.request) as r (
            tenant_id uuid, tenants uuid[], queues text[], agent_id text, "limit" numeric,
            request_id uuid, two_phase text, marks jsonb)
        order by e.item);
end;
$$;
