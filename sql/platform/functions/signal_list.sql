-- public.signal_list: a page of signals of the user who calls, newest first.
-- Returns: at most p_limit signals from the p_offset-th on, of a strategy and a status if they are named.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX422
create or replace function public.signal_list(
    p_strategy_id uuid default null, p_status text default null, p_limit integer default 50, p_offset integer default 0
) returns setof public.signals
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    perform public._refuse('FX422', 'invalid', 'offset', 'at least 0') where coalesce(p_offset < 0, true);
    return query
    select s.*
    from public.signals s
    where s.user_id = auth.uid() and (p_strategy_id is null or s.strategy_id = p_strategy_id)
      and (p_status is null or s.status = p_status)
    order by s.created_at desc, s.id desc
    limit p_limit offset p_offset;
end;
$$;
