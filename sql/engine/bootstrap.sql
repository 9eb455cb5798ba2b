-- The list of migrations that were applied. Runs first of the owner's files, on every install.
create table if not exists jobengine._migration (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default clock_timestamp()
);
