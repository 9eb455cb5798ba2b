-- The schema and the list of migrations that were applied to it. Runs first, on every install.
create schema if not exists jobengine;

create table if not exists jobengine._migration (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default clock_timestamp()
);
