-- jobengine doctor, settle: settle functions that would be refused if they were registered today.
-- Reads: jobengine.job_type, pg_proc, pg_namespace
-- Rights: jobengine_operator, or the owner
-- The rules are those of jobengine._check_settle, for the owner of the schema and for all types at once.
select s.job_type as name, s.settle_function as settle, array_to_string(s.fix, E'\n') as remedy
from (
    select
        t.job_type,
        format('%I.%I', t.settle_schema, t.settle_function) as settle_function,
        case
            when n.oid is null or not has_schema_privilege(o.nspowner, n.oid, 'usage') then array[format(
                'create schema if not exists %I; grant usage on schema %1$I to %s;',
                t.settle_schema, o.nspowner::pg_catalog.regrole)]
            when p.oid is null or p.prorettype <> 'void'::pg_catalog.regtype then array[format(
                '-- create function %I.%I(jobengine.settled_job[]) returns void ...',
                t.settle_schema, t.settle_function)]
            else array_remove(array[
                case when not p.prosecdef then
                    format('alter function %s security definer;', p.oid::pg_catalog.regprocedure) end,
                case when not exists (select from unnest(p.proconfig) c where c like 'search_path=%') then
                    format('alter function %s set search_path = %I, pg_temp;',
                           p.oid::pg_catalog.regprocedure, t.settle_schema) end,
                case when exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                                  where a.grantee = 0) then
                    format('revoke execute on function %s from public;', p.oid::pg_catalog.regprocedure) end,
                case when not exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                                      where a.grantee <> 0 and pg_has_role(o.nspowner, a.grantee, 'usage')) then
                    format('grant execute on function %s to %s;',
                           p.oid::pg_catalog.regprocedure, o.nspowner::pg_catalog.regrole) end], null)
        end as fix
    from jobengine.job_type t
    join pg_catalog.pg_namespace o on o.nspname = 'jobengine'
    left join pg_catalog.pg_namespace n on n.nspname = t.settle_schema
    left join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = t.settle_function and p.pronargs = 1
        and p.proargtypes[0] = 'jobengine.settled_job[]'::pg_catalog.regtype
    where t.settle_function is not null
) s
where cardinality(s.fix) > 0
order by s.job_type;
