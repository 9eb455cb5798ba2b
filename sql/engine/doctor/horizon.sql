-- jobengine doctor, horizon: who keeps vacuum from removing dead rows of this database, oldest first.
-- Reads: pg_stat_activity, pg_stat_progress_vacuum, pg_prepared_xacts, pg_replication_slots, pg_stat_replication
-- Rights: pg_read_all_stats, to see the sessions of other roles
-- A session counts where it holds a snapshot or has written; one that vacuums does not hold the horizon.
select
    'session' as kind,
    a.pid::text as name,
    a.usename::text as owner,
    a.application_name as application,
    a.state,
    extract(epoch from clock_timestamp() - a.xact_start)::double precision as seconds,
    greatest(age(a.backend_xmin), age(a.backend_xid)) as transactions,
    left(regexp_replace(a.query, '\s+', ' ', 'g'), 60) as query
from pg_catalog.pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type <> 'autovacuum worker'
  and (a.backend_xmin is not null or a.backend_xid is not null)
  and not exists (select from pg_catalog.pg_stat_progress_vacuum v where v.pid = a.pid)
union all
select 'prepared transaction', x.gid, x.owner::text, null, 'prepared',
       extract(epoch from clock_timestamp() - x.prepared)::double precision, age(x.transaction), null
from pg_catalog.pg_prepared_xacts x
where x.database = current_database()
union all
select 'replication slot', s.slot_name::text, null, s.plugin::text,
       case when s.active then 'active' else 'inactive' end, null, age(s.xmin), null
from pg_catalog.pg_replication_slots s
where s.xmin is not null
union all
select 'standby', r.pid::text, r.usename::text, r.application_name, r.state, null, age(r.backend_xmin), null
from pg_catalog.pg_stat_replication r
where r.backend_xmin is not null
order by seconds desc nulls last, transactions desc;
