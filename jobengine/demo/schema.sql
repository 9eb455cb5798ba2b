-- The demo's own tables: what a host's parents of jobs look like. Rows are told apart by run (= tenant).
create schema if not exists jobengine_demo;

create table if not exists jobengine_demo.folder (
    run    uuid not null,
    path   text not null,
    files  bigint not null default 0,
    failed bigint not null default 0,
    bytes  bigint not null default 0,
    digest bigint not null default 0,    -- all files' digests, xor-ed: no order, and a second time takes it back
    primary key (run, path)
);

-- One row per settled end, without a key on purpose: a job that was settled twice would show.
create table if not exists jobengine_demo.settled (
    run    uuid not null,
    job_id uuid not null,
    status text not null
);

create index if not exists settled_run on jobengine_demo.settled (run);

-- The settle function of hash_file: runs in the transaction that ends the jobs, once per batch. Locks the
-- folders in the order of their paths, so that two batches never wait for each other in a circle.
create or replace function jobengine_demo.settle_hash_file(p_jobs jobengine.settled_job[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform 1
    from jobengine_demo.folder f
    where (f.run, f.path) in (select j.tenant_id, j.input ->> 'folder' from unnest(p_jobs) j)
    order by f.run, f.path
    for update;

    update jobengine_demo.folder f
    set files = f.files + d.files, failed = f.failed + d.failed, bytes = f.bytes + d.bytes, digest = f.digest # d.digest
    from (
        select j.tenant_id, j.input ->> 'folder' as path, count(*) filter (where j.status = 'completed') as files,
               count(*) filter (where j.status <> 'completed') as failed,
               coalesce(sum((j.output ->> 'bytes')::bigint), 0) as bytes,
               coalesce(bit_xor((j.output ->> 'digest')::bigint), 0) as digest
        from unnest(p_jobs) j
        group by j.tenant_id, j.input ->> 'folder'
    ) d
    where f.run = d.tenant_id and f.path = d.path;

    insert into jobengine_demo.settled (run, job_id, status)
    select j.tenant_id, j.job_id, j.status from unnest(p_jobs) j;
end;
$$;

revoke execute on function jobengine_demo.settle_hash_file(jobengine.settled_job[]) from public;

-- The engine calls it as its owner: jobengine_owner, or whoever installed it without roles.
do $$
declare
    v_owner regrole := (select nspowner from pg_namespace where nspname = 'jobengine');
begin
    execute format('grant usage on schema jobengine_demo to %s', v_owner);
    execute format('grant execute on function jobengine_demo.settle_hash_file(jobengine.settled_job[]) to %s', v_owner);
end;
$$;
