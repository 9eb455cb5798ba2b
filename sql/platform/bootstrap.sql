-- The list of migrations that were applied, out of reach of every other role.
create schema if not exists platform;
create table if not exists platform._migration (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default clock_timestamp()
);
