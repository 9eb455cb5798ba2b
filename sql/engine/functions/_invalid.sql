-- jobengine._invalid: refuses an argument, naming the field and the rule that it breaks.
-- Transition: none
-- Returns: nothing, it always raises.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: JE002
-- Concurrency: safe. The detail is JSON: {"field", "rule", "item"}, item counted from 1 or null.
create or replace function jobengine._invalid(p_field text, p_rule text, p_item integer default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = 'JE002',
        message = format('invalid %s: %s', p_field, p_rule),
        detail = json_build_object('field', p_field, 'rule', p_rule, 'item', p_item)::text;
end;
$$;
