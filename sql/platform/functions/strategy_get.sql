-- public.strategy_get: a strategy of the user who calls.
-- Returns: one row.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX404
create or replace function public.strategy_get(p_id uuid) returns setof public.strategies
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query select s.* from public.strategies s where s.id = p_id and s.user_id = auth.uid();
    if not found then
        perform public._refuse('FX404', 'not_found', 'id');
    end if;
end;
$$;
