-- jobengine doctor, commit: where synchronous_commit is off, for this session and by database or role.
-- Reads: settings, pg_db_role_setting, pg_database, pg_roles
-- Rights: nothing special
select 'this session' as place, 'set synchronous_commit = on;' as remedy
where current_setting('synchronous_commit') = 'off'
union all
select
    concat_ws(', ', 'database ' || d.datname, 'role ' || r.rolname),
    case
        when d.datname is null then format('alter role %I reset synchronous_commit;', r.rolname)
        when r.rolname is null then format('alter database %I reset synchronous_commit;', d.datname)
        else format('alter role %I in database %I reset synchronous_commit;', r.rolname, d.datname)
    end
from pg_catalog.pg_db_role_setting s
left join pg_catalog.pg_database d on d.oid = s.setdatabase
left join pg_catalog.pg_roles r on r.oid = s.setrole
where 'synchronous_commit=off' = any (s.setconfig)
  and (s.setdatabase = 0 or d.datname = current_database());
