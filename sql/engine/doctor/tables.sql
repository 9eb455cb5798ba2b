-- jobengine doctor, tables: dead rows of the tables that change all the time.
-- Reads: pg_stat_all_tables
-- Rights: nothing special
select
    t.relname::text as name,
    t.n_live_tup as live,
    t.n_dead_tup as dead,
    extract(epoch from clock_timestamp() - greatest(t.last_autovacuum, t.last_vacuum))::double precision as vacuumed
from pg_catalog.pg_stat_all_tables t
where t.schemaname = 'jobengine' and t.relname = any ('{ready, lease, live_key, waiting}')
order by t.relname;
