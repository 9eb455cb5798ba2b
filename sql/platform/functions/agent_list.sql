-- public.agent_list: a page of the caller's agents, newest first.
-- Returns: at most p_limit agents older than (p_before, p_before_id), revoked ones too.
-- Writes: nothing
-- Locks: nothing
-- Calls: auth.uid, _refuse
-- Raises: FX422
-- Notes: The page after this one: created_at and agent_id of its last row.
create or replace function public.agent_list(
    p_before timestamptz default null, p_before_id uuid default null, p_limit integer default 50
) returns setof public.agents
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'limit', 'from 1 to 200')
    where coalesce(p_limit not between 1 and 200, true);
    perform public._refuse('FX422', 'invalid', 'before_id', 'together with before')
    where (p_before is null) <> (p_before_id is null);
    return query
    select a.*
    from public.agents a
    where a.user_id = auth.uid() and (p_before is null or (a.created_at, a.agent_id) < (p_before, p_before_id))
    order by a.created_at desc, a.agent_id desc
    limit p_limit;
end;
$$;
