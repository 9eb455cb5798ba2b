-- What the platform makes, one line each, without anything that differs between servers: `python -m api verify`
-- compares it with catalog.txt. The second word names what a line is of. Tables of before us keep what they had, so
-- defaults, NOT NULL and references to auth.users are left out.
with ours as (
    select c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.reloptions, c.relrowsecurity,
           case when c.relnamespace = 'public'::pg_catalog.regnamespace then '' else n.nspname || '.' end || c.relname
               as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'jobengine', 'platform') and c.relkind in ('r', 'p', 'v', 'c')
), made as (
    select o.* from ours o where o.name not like 'jobengine.%'    -- the engine verifies its own
), grantee as (
    select r.oid, r.rolname::text as name from pg_catalog.pg_roles r
    where r.rolname in ('anon', 'authenticated', 'service_role', 'jobengine_owner')
    union all
    select 0, 'public'
)
select 'table ' || o.name || case when o.relrowsecurity then ' row level security' else '' end as line
from made o
where o.relkind in ('r', 'p')
union all
select 'column ' || o.name || '.' || a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
from made o
join pg_catalog.pg_attribute a on a.attrelid = o.oid and a.attnum > 0 and not a.attisdropped
union all
select 'constraint ' || o.name || ' ' || pg_catalog.pg_get_constraintdef(k.oid)
from made o
join pg_catalog.pg_constraint k on k.conrelid = o.oid and k.contype in ('c', 'f', 'p', 'u', 'x')
where k.confrelid is distinct from pg_catalog.to_regclass('auth.users')
union all
select 'index ' || o.name || ' ' || pg_catalog.pg_get_indexdef(i.indexrelid)
from made o
join pg_catalog.pg_index i on i.indrelid = o.oid
union all
-- PostgreSQL 15 writes the alias before each column, 16 only where there are several tables
select 'view ' || o.name || coalesce(' with ' || array_to_string(o.reloptions, ', '), '') || ' ' || pg_catalog.md5(
           pg_catalog.regexp_replace(pg_catalog.pg_get_viewdef(o.oid), '\m[a-z]\.|\s+', '', 'g'))
from made o
where o.relkind = 'v'
union all
select 'trigger ' || case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname || ' '
       || pg_catalog.pg_get_triggerdef(t.oid) || case when t.tgenabled <> 'O' then ' not enabled' else '' end
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and (n.nspname = 'public' or t.tgname like 'jobengine\_%')
union all
select 'function ' || p.proname || '(' || pg_catalog.pg_get_function_arguments(p.oid) || ') returns '
       || pg_catalog.pg_get_function_result(p.oid) || ' ' || p.provolatile::text
       || case when p.proisstrict then ' strict' else '' end
       || case when p.prosecdef then ' security definer' else '' end
       || coalesce(' set ' || array_to_string(p.proconfig, ', '), '') || ' ' || pg_catalog.md5(p.prosrc)
from pg_catalog.pg_proc p
where p.pronamespace = 'public'::pg_catalog.regnamespace
union all
select 'grant ' || p.proname || '() ' || pg_catalog.lower(a.privilege_type) || ' to ' || g.name
from pg_catalog.pg_proc p
cross join pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
join grantee g on g.oid = a.grantee
where p.pronamespace = 'public'::pg_catalog.regnamespace and a.grantee <> p.proowner
union all
select 'grant ' || o.name || ' ' || pg_catalog.lower(a.privilege_type) || ' to ' || g.name
from ours o
cross join pg_catalog.aclexplode(o.relacl) a
join grantee g on g.oid = a.grantee
where a.grantee <> o.relowner
union all
select 'grant ' || o.name || '.' || c.attname || ' ' || pg_catalog.lower(a.privilege_type) || ' to ' || g.name
from ours o
join pg_catalog.pg_attribute c on c.attrelid = o.oid and c.attnum > 0 and not c.attisdropped
cross join pg_catalog.aclexplode(c.attacl) a
join grantee g on g.oid = a.grantee
where a.grantee <> o.relowner
union all
select 'policy ' || case p.schemaname when 'public' then '' else p.schemaname || '.' end || p.tablename || ' '
       || p.policyname || ' ' || pg_catalog.lower(p.cmd) || ' to ' || array_to_string(p.roles, ', ')
       || coalesce(' using ' || p.qual, '') || coalesce(' with check ' || p.with_check, '')
from pg_catalog.pg_policies p
where p.schemaname in ('public', 'jobengine') and p.roles <> array['jobengine_operator'::name]
order by line
