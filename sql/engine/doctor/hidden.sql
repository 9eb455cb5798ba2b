-- jobengine doctor, hidden: how many sessions of this database this role may not look at.
-- Reads: pg_stat_activity
-- Rights: nothing special
select count(*) as sessions
from pg_catalog.pg_stat_activity a
where a.datname = current_database() and a.usesysid is not null and a.query = '<insufficient privilege>';
