-- jobengine doctor, hidden: how many sessions hold the horizon that this role may not look at.
-- Reads: pg_stat_activity
-- Rights: nothing special
-- Everybody sees that a session holds a snapshot, and how old it is in transactions; not since when, nor whose.
select count(*) as sessions, coalesce(max(greatest(age(a.backend_xmin), age(a.backend_xid))), 0) as transactions
from pg_catalog.pg_stat_activity a
where a.datname = current_database() and a.usesysid is not null and a.query = '<insufficient privilege>'
  and (a.backend_xmin is not null or a.backend_xid is not null);
