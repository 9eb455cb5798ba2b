-- public._order_page: where a page of orders of the user who calls may be, newest first.
-- Returns: at most p_limit ids older than p_before (null: from the newest); with a status also of orders that are in
--   another one by now, and of jobs that are no orders. Fewer than p_limit: there are no more.
-- Writes: nothing
-- Locks: nothing
-- Calls: _user
-- Raises: FX404
-- Notes: A client's own number has an index; so have the ends of orders by status (order_end), to which come what
--   waits or is held, and ends that are not settled yet; without either it is the `requested` events, of which an
--   order that was retried has two. What is older than the oldest job was pruned. Sorts are off, so that the indexes'
--   order is walked as far as the page goes, whatever the planner believes of the tables.
create or replace function public._order_page(p_client_order_id text, p_status text, p_before uuid, p_limit integer)
returns uuid[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_hashagg = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_user_id uuid := public._user();
    v_before uuid := coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_oldest uuid := (select j.job_id from jobengine.job j order by j.job_id limit 1);
begin
    if p_client_order_id is not null then
        return array(
            select distinct o.job_id
            from (
                select e.job_id from public.trade_events e
                where e.user_id = v_user_id and e.event = 'requested'
                  and e.detail ->> 'client_order_id' = p_client_order_id
                offset 0    -- the index of all orders, which is in order, may not come into question
            ) o
            where o.job_id < v_before
            order by o.job_id desc
            limit p_limit);
    elsif p_status is null then
        return array(
            select distinct e.job_id
            from public.trade_events e
            where e.user_id = v_user_id and e.event = 'requested' and e.job_id < v_before and e.job_id >= v_oldest
            order by e.job_id desc
            limit p_limit);
    end if;
    return array(
        select distinct o.job_id
        from (
            (select s.job_id from public.order_end s
             where s.user_id = v_user_id and s.status = p_status and s.job_id < v_before and s.job_id >= v_oldest
             order by s.job_id desc
             limit p_limit)
            union all
            select r.job_id from jobengine.ready r where p_status = 'pending' and r.tenant_id = v_user_id
            union all
            select l.job_id from jobengine.lease l
            where p_status in ('claimed', 'sent', 'expired') and l.tenant_id = v_user_id
            union all
            select e.job_id from jobengine.ended e where e.settle_at is not null and e.tenant_id = v_user_id
            offset 0
        ) o
        where o.job_id < v_before
        order by o.job_id desc
        limit p_limit);
end;
$$;
