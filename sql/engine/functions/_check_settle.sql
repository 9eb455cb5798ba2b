-- jobengine._check_settle: refuses a settle function that would fail, or change nothing, when a job ends.
-- Transition: none
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: nothing
-- Raises: JE003
-- Concurrency: safe. The hint holds the statements that mend it. SECURITY DEFINER is demanded because an
--   invoker (the engine's owner) meets the parents' row-level security and silently updates no row; a parent
--   table under FORCE ROW LEVEL SECURITY does the same to the owner, which no function can see from here.
create or replace function jobengine._check_settle(p_schema text, p_function text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := format('%I.%I(jobengine.settled_job[])', p_schema, p_function);
    v_schema_ok boolean := to_regnamespace(quote_ident(p_schema)) is not null
        and has_schema_privilege(current_user, p_schema, 'USAGE');
    v_function pg_proc;
    v_acl aclitem[];
    v_fix text[];
begin
    if not v_schema_ok then
        raise exception using errcode = 'JE003', message = format('settle function %s cannot be reached', v_name),
            hint = format('create the schema, then: grant usage on schema %I to %I;', p_schema, current_user);
    end if;
    select * into v_function from pg_proc where oid = to_regprocedure(v_name);
    if v_function.oid is null or v_function.prorettype <> 'void'::regtype then
        raise exception using errcode = 'JE003', message = format('settle function %s does not exist', v_name),
            hint = format('create function %s returns void …', v_name);
    end if;
    v_acl := coalesce(v_function.proacl, acldefault('f', v_function.proowner));
    v_fix := array_remove(array[
        case when not v_function.prosecdef then format('alter function %s security definer;', v_name) end,
        case when not exists (select from unnest(v_function.proconfig) c where c like 'search_path=%') then
            format('alter function %s set search_path = %I, pg_temp;', v_name, p_schema) end,
        case when exists (select from aclexplode(v_acl) a where a.grantee = 0) then
            format('revoke execute on function %s from public;', v_name) end,
        case when not exists (
                select from aclexplode(v_acl) a
                where a.grantee <> 0 and pg_has_role(current_user, a.grantee, 'USAGE')) then
            format('grant execute on function %s to %I;', v_name, current_user) end], null);
    if cardinality(v_fix) > 0 then
        raise exception using errcode = 'JE003', message = format('settle function %s is not safe to call', v_name),
            hint = array_to_string(v_fix, E'\n');
    end if;
end;
$$;
