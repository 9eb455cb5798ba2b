-- jobengine doctor, role: who asks, and which of the engine's roles he has.
-- Reads: pg_roles, pg_namespace
-- Rights: nothing special
select
    r.rolname as name,
    r.rolsuper as superuser,
    r.rolbypassrls as bypasses,
    coalesce((select pg_has_role(n.nspowner, 'usage') from pg_catalog.pg_namespace n
              where n.nspname = 'jobengine'), false) as owner,
    (select n.nspowner::pg_catalog.regrole::text from pg_catalog.pg_namespace n
     where n.nspname = 'jobengine') as owner_name,
    array(select m.rolname::text from pg_catalog.pg_roles m
          where m.rolname = any ('{jobengine_owner, jobengine_client, jobengine_worker, jobengine_operator}')
            and pg_has_role(m.oid, 'usage')
          order by 1) as roles
from pg_catalog.pg_roles r
where r.rolname = current_user;
