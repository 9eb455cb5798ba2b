-- public.order_list: a page of the orders of the user who calls, newest first.
-- Returns: at most p_limit orders older than p_before (an id; null: from the newest) that match the filters.
-- Writes: nothing
-- Locks: nothing
-- Calls: _order_page, _refuse
-- Raises: FX404, FX422
-- Notes: The rows are read with the caller's rights, one probe per id; the planner's choices are pinned as in job_list.
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
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    perform public._refuse('FX422', 'invalid', 'status', 'a status of an order')
    where p_status not in ('pending', 'claimed', 'sent', 'filled', 'partially_filled', 'closed', 'rejected', 'expired',
                           'cancelled', 'unknown');
    return query
    select o.*
    from public._order_page(p_client_order_id, p_before) i
    cross join lateral (select w.* from public.orders w where w.order_id = i limit 1) o
    where p_status is null or o.status = p_status
    limit p_limit;
end;
$$;
