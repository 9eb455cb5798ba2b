-- Whether an install here is one with roles: as the one that is there, else as this role may.
select coalesce(
    (select nspowner = to_regrole('jobengine_owner') from pg_namespace where nspname = 'jobengine'),
    (select rolsuper or rolcreaterole from pg_roles where rolname = current_user))
