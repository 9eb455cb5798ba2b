-- public._changes: checks the names and the form of a set of changes.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse
-- Raises: FX422
-- Notes: p_types says which JSON types a field may have; null clears a field if it is among them.
create or replace function public._changes(p_changes jsonb, p_types jsonb) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'changes', 'a JSON object')
    where jsonb_typeof(p_changes) is distinct from 'object';
    perform public._refuse('FX422', 'invalid', c.key,
        coalesce('one of ' || (select string_agg(t, ', ') from jsonb_array_elements_text(p_types -> c.key) t),
                 'not a field that can be changed'))
    from jsonb_each(p_changes) c
    where not coalesce(p_types -> c.key ? jsonb_typeof(c.value), false)
    order by c.key
    limit 1;
end;
$$;
