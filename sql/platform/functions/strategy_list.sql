-- public.strategy_list: the strategies of the user who calls, newest first.
-- Returns: at most p_limit strategies from the p_offset-th on.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX422
create or replace function public.strategy_list(p_limit integer default 50, p_offset integer default 0)
returns setof public.strategies
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
    from public.strategies s
    where s.user_id = auth.uid()
    order by s.created_at desc, s.id desc
    limit p_limit offset p_offset;
end;
$$;
