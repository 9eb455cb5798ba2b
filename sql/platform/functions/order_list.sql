-- public.order_list: a page of the orders of the user who calls, newest first.
-- Returns: at most p_limit orders older than p_before (an id; null: from the newest) that match the filters.
-- Writes: nothing
-- Locks: nothing
-- Calls: _order_page, _refuse
-- Raises: FX404, FX422
-- Notes: The rows are read with the caller's rights, one probe per id; the planner's choices are pinned as in job_list.
--   What a page costs does not grow with the user's history: 1,800 orders were walked for a rare status before.
create or replace function public.order_list(
    p_client_order_id text default null, p_status text default null, p_before uuid default null,
    p_limit integer default 50
) returns setof public.orders
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_ids uuid[];
    v_before uuid := p_before;
    v_found integer;
    v_left integer := p_limit;
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    perform public._refuse('FX422', 'invalid', 'status', 'a status of an order')
    where p_status not in ('pending', 'claimed', 'sent', 'filled', 'partially_filled', 'closed', 'rejected', 'expired',
                           'cancelled', 'unknown');
    loop
        v_ids := public._order_page(p_client_order_id, p_status, v_before, p_limit);
        return query
        select o.*
        from unnest(v_ids) i
        cross join lateral (select w.* from public.orders w where w.order_id = i limit 1) o
        where p_status is null or o.status = p_status
        order by o.order_id desc
        limit v_left;
        get diagnostics v_found = row_count;
        v_left := v_left - v_found;
        exit when v_left = 0 or cardinality(v_ids) < p_limit;
        v_before := v_ids[cardinality(v_ids)];
    end loop;
end;
$$;
