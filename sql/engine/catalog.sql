-- What is in schema jobengine, one line each, without anything that differs between servers. `verify` compares
-- it with catalog.txt. Lines of grants, policies and owners stand for an install with roles only.
select 'table ' || c.relname || case c.relpersistence::text when 'u' then ' unlogged' else '' end
       || case when c.relrowsecurity then ' row level security' else '' end
       || case when c.relforcerowsecurity then ' forced' else '' end
       || coalesce(' with ' || array_to_string(c.reloptions, ', '), '') as line
from pg_catalog.pg_class c
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace and c.relkind in ('r', 'p')
union all
select case c.relkind when 'S' then 'sequence ' when 'm' then 'materialized view ' else 'foreign table ' end
       || c.relname
from pg_catalog.pg_class c
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace and c.relkind in ('S', 'm', 'f')
union all
select 'type ' || t.typname
from pg_catalog.pg_type t
where t.typnamespace = 'jobengine'::pg_catalog.regnamespace and t.typtype in ('d', 'e', 'r')
union all
select 'column ' || c.relname || '.' || a.attname || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod)
       || case when a.attnotnull then ' not null' else '' end
       || coalesce(' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
from pg_catalog.pg_class c
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace and c.relkind in ('r', 'p', 'v', 'c')
union all
select 'constraint ' || n.conrelid::pg_catalog.regclass || ' ' || pg_catalog.pg_get_constraintdef(n.oid)
from pg_catalog.pg_constraint n
where n.connamespace = 'jobengine'::pg_catalog.regnamespace and n.contype in ('c', 'f', 'p', 'u', 'x')
union all
select 'index ' || pg_catalog.pg_get_indexdef(i.indexrelid)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace
union all
select 'view ' || c.relname || coalesce(' with ' || array_to_string(c.reloptions, ', '), '') || ' '
       || pg_catalog.md5(pg_catalog.pg_get_viewdef(c.oid))
from pg_catalog.pg_class c
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace and c.relkind = 'v'
union all
select 'trigger ' || c.relname || ' ' || t.tgname
from pg_catalog.pg_trigger t
join pg_catalog.pg_class c on c.oid = t.tgrelid
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace and not t.tgisinternal
union all
select 'function ' || p.proname || '(' || pg_catalog.pg_get_function_arguments(p.oid) || ') returns '
       || pg_catalog.pg_get_function_result(p.oid) || ' ' || p.provolatile::text
       || case when p.proisstrict then ' strict' else '' end
       || case when p.prosecdef then ' security definer' else '' end
       || coalesce(' set ' || array_to_string(p.proconfig, ', '), '') || ' ' || pg_catalog.md5(p.prosrc)
from pg_catalog.pg_proc p
where p.pronamespace = 'jobengine'::pg_catalog.regnamespace
union all
select 'other owner of function ' || p.proname
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'jobengine' and p.proowner <> n.nspowner
union all
select 'other owner of ' || c.relname
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'jobengine' and c.relkind not in ('i', 'I') and c.relowner <> n.nspowner
union all
select 'public grant on function ' || p.proname
from pg_catalog.pg_proc p
cross join pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
where p.pronamespace = 'jobengine'::pg_catalog.regnamespace and a.grantee = 0
union all
select 'grant ' || pg_catalog.lower(a.privilege_type) || ' on function ' || p.proname || ' to '
       || a.grantee::pg_catalog.regrole
from pg_catalog.pg_proc p
cross join pg_catalog.aclexplode(p.proacl) a
where p.pronamespace = 'jobengine'::pg_catalog.regnamespace
  and a.grantee::pg_catalog.regrole::text = any ('{jobengine_client, jobengine_worker, jobengine_operator}')
  and a.grantee <> p.proowner
union all
select 'grant ' || pg_catalog.lower(a.privilege_type) || ' on ' || c.relname || ' to ' || a.grantee::pg_catalog.regrole
from pg_catalog.pg_class c
cross join pg_catalog.aclexplode(c.relacl) a
where c.relnamespace = 'jobengine'::pg_catalog.regnamespace
  and a.grantee::pg_catalog.regrole::text = any ('{jobengine_client, jobengine_worker, jobengine_operator}')
  and a.grantee <> c.relowner
union all
select 'grant ' || pg_catalog.lower(a.privilege_type) || ' on schema to ' || a.grantee::pg_catalog.regrole
from pg_catalog.pg_namespace n
cross join pg_catalog.aclexplode(n.nspacl) a
where n.nspname = 'jobengine'
  and a.grantee::pg_catalog.regrole::text = any ('{jobengine_client, jobengine_worker, jobengine_operator}')
  and a.grantee <> n.nspowner
union all
select 'policy ' || p.tablename || ' ' || p.policyname || ' ' || pg_catalog.lower(p.cmd)
       || coalesce(' using ' || p.qual, '')
       || coalesce(' with check ' || p.with_check, '')
from pg_catalog.pg_policies p
where p.schemaname = 'jobengine' and p.roles = array['jobengine_operator'::name]
order by line
