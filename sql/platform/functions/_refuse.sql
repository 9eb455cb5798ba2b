-- public._refuse: refuses a call with an error that names what is wrong.
-- Returns: nothing, it always raises.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: FX403, FX404, FX409, FX422, FX503
-- Notes: The detail is JSON: {"code", "field", "rule"}; field and rule are null where they mean nothing.
create or replace function public._refuse(
    p_errcode text, p_code text, p_field text default null, p_rule text default null
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using
        errcode = p_errcode,
        message = concat_ws(': ', p_code, p_field, p_rule),
        detail = json_build_object('code', p_code, 'field', p_field, 'rule', p_rule)::text;
end;
$$;
