-- jobengine doctor, server: how this server keeps what is committed, and how full it is.
-- Reads: settings, pg_stat_database
-- Rights: nothing special
select
    current_setting('server_version') as version,
    current_setting('server_version_num')::integer as version_number,
    current_setting('fsync') = 'on' as fsync,
    current_setting('full_page_writes') = 'on' as full_page_writes,
    current_setting('autovacuum') = 'on' as autovacuum,
    current_setting('track_counts') = 'on' as track_counts,
    (select sum(d.numbackends) from pg_catalog.pg_stat_database d) as connections,
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer as max_connections;
