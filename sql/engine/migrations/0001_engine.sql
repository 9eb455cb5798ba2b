-- The engine's tables and types. A job has one immutable row in `job` and is, at every moment, in exactly
-- one of `ready` (waits), `lease` (is held) and `ended`. Moving between them is a delete and an insert, so
-- the hot tables are never updated in the claim's path and `job` never has a dead row.

-- What a settle function receives: one element per job whose end has to be settled.
create type jobengine.settled_job as (
    job_id        uuid,
    tenant_id     uuid,
    job_type      text,
    status        text,
    prior_status  text,     -- the last status that was settled for this job, null at first
    input         jsonb,
    output        jsonb,
    error_code    text,
    error_message text,
    meta          jsonb
);

create table jobengine.job_type (
    job_type            text primary key,
    priority            smallint not null default 5,
    max_attempts        integer not null default 5,
    lease_seconds       double precision not null default 60,
    delivery            text not null default 'at_least_once',
    backoff_seconds     double precision not null default 1,
    backoff_max_seconds double precision not null default 3600,
    settle_schema       text,                -- text, not regprocedure: pg_upgrade refuses such columns
    settle_function     text,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    check (job_type ~ '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$'),
    check (priority between 0 and 9),
    check (max_attempts between 1 and 1000),
    check (lease_seconds between 0.1 and 86400),
    check (delivery in ('at_least_once', 'at_most_once')),
    check (backoff_seconds between 0 and backoff_max_seconds and backoff_max_seconds <= 604800),
    check ((settle_schema is null) = (settle_function is null))
);

create table jobengine.job (
    job_id        uuid primary key,
    tenant_id     uuid not null,
    queue         text not null,
    job_type      text not null,
    priority      smallint not null,
    input         jsonb not null,
    meta          jsonb not null,
    max_attempts  integer not null,
    lease_seconds double precision not null,
    delivery      text not null,
    dedup_key     text,
    live_key      text,
    wake          boolean not null,          -- somebody waits for the result: its end notifies
    created_at    timestamptz not null,
    check (dedup_key is null or live_key is null)
);

-- enqueue finds the first job of a dedup key
create unique index job_dedup_key on jobengine.job (tenant_id, dedup_key) where dedup_key is not null;

create table jobengine.ready (
    job_id      uuid primary key,
    tenant_id   uuid not null,
    queue       text not null,
    priority    smallint not null,
    run_at      timestamptz not null,
    attempt     integer not null,            -- attempts spent
    lease_epoch integer not null,            -- of the last lease, 0 before the first
    lost        integer not null,            -- leases in a row that ran out before the start
    expires_at  timestamptz
) with (
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.0,
    autovacuum_analyze_threshold = 50000,
    vacuum_truncate = false                  -- truncation takes an exclusive lock in the middle of claims
);

-- claim walks it in order, per tenant, queue and priority
create index ready_claim on jobengine.ready (tenant_id, queue, priority, run_at, job_id);
-- sweep finds waiting jobs past their expiry
create index ready_expires_at on jobengine.ready (expires_at) where expires_at is not null;

create table jobengine.lease (
    job_id           uuid primary key,
    tenant_id        uuid not null,
    queue            text not null,
    priority         smallint not null,
    job_type         text not null,
    delivery         text not null,
    max_attempts     integer not null,
    wake             boolean not null,
    live_key         text,
    expires_at       timestamptz,
    lease_epoch      integer not null,
    attempt          integer not null,
    lost             integer not null,
    agent_id         text,
    claimed_at       timestamptz not null,
    started_at       timestamptz,
    lease_expires_at timestamptz not null,
    request_id       uuid,
    cancel_reason    text,                   -- set: the holder is asked to stop
    lapsed           boolean not null default false,    -- past expires_at before its start: sweep ends it
    check (agent_id is not null or lapsed),
    check (not lapsed or started_at is null)
) with (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.0,
    autovacuum_analyze_threshold = 50000,
    vacuum_truncate = false
);

-- sweep finds run-out leases; lapsed ones are stored as run out at their expiry
create index lease_expires_at on jobengine.lease (lease_expires_at);
-- a repeated claim finds the leases of its first try
create index lease_request on jobengine.lease (agent_id, request_id) where request_id is not null;

create table jobengine.ended (
    job_id         uuid primary key,
    tenant_id      uuid not null,
    status         text not null,
    output         jsonb,
    error_code     text,
    error_message  text,
    attempt        integer not null,
    lease_epoch    integer not null,
    agent_id       text,
    claimed_at     timestamptz,
    started_at     timestamptz,
    finished_at    timestamptz not null,
    settled_status text,                     -- the last status that the settle function accepted
    settle_error   text,                     -- why the newest settle failed
    settle_tries   integer not null default 0,
    settle_at      timestamptz,              -- when sweep settles again: set = unsettled
    check (status in ('completed', 'failed', 'cancelled', 'expired', 'unknown'))
);

-- list and count of the ends that somebody looks for; completed ones would only cost
create index ended_status on jobengine.ended (tenant_id, status, job_id) where status <> 'completed';
-- sweep finds the settles to try again
create index ended_settle_at on jobengine.ended (settle_at) where settle_at is not null;

create table jobengine.failure (
    job_id        uuid not null,
    lease_epoch   integer not null,
    attempt       integer not null,
    reported_by   text not null,
    agent_id      text,
    error_code    text,
    error_message text,
    failed_at     timestamptz not null,
    primary key (job_id, lease_epoch),
    check (reported_by in ('holder', 'sweep'))
);

create table jobengine.live_key (
    tenant_id uuid not null,
    live_key  text not null,
    job_id    uuid not null,
    primary key (tenant_id, live_key)
);

-- Processes that sleep until a job comes. Unlogged: after a crash nobody sleeps there any more.
create unlogged table jobengine.waiting (
    listener_id uuid not null,
    queue       text not null,
    tenant_id   uuid,                        -- null: any tenant
    until       timestamptz not null
);

-- enqueue asks whether anybody waits for this queue
create index waiting_queue on jobengine.waiting (queue, tenant_id);
-- a listener that wakes takes its rows away
create index waiting_listener on jobengine.waiting (listener_id);

-- What a function says of one item of its call.
create type jobengine._answer as (
    item    integer,
    job_id  uuid,
    verdict text
);

-- A job to be written by enqueue.
create type jobengine._new_job as (
    item          integer,
    job_id        uuid,
    tenant_id     uuid,
    queue         text,
    job_type      text,
    priority      smallint,
    input         jsonb,
    meta          jsonb,
    max_attempts  integer,
    lease_seconds double precision,
    delivery      text,
    dedup_key     text,
    live_key      text,
    wake          boolean,
    run_at        timestamptz,
    expires_at    timestamptz
);

-- One request of a claim.
create type jobengine._claim_request as (
    request    integer,
    tenant_id  uuid,
    tenants    uuid[],
    queues     text[],
    agent_id   text,
    max_jobs   integer,
    request_id uuid,
    two_phase  text,
    marks      jsonb
);

-- A lease that a call names and that is there.
create type jobengine._item as (
    job_id      uuid,
    lease_epoch integer,
    started_at  timestamptz,
    lapses      boolean
);

-- A job that claim hands out.
create type jobengine._held as (
    job_id           uuid,
    tenant_id        uuid,
    queue            text,
    job_type         text,
    priority         smallint,
    input            jsonb,
    meta             jsonb,
    run_at           timestamptz,
    attempt          integer,
    max_attempts     integer,
    lease_epoch      integer,
    lease_expires_at timestamptz,
    lease_seconds    double precision,
    started_at       timestamptz,
    delivery         text,
    expires_at       timestamptz,
    created_at       timestamptz
);

-- A job whose settle failed.
create type jobengine._unsettled as (
    job_id uuid,
    error  text,
    retry  boolean
);

-- What cancel did to a job.
create type jobengine._stopped as (
    job_id  uuid,
    verdict text,
    status  text
);

-- A job that _end ends.
create type jobengine._ending as (
    job_id        uuid,
    tenant_id     uuid,
    job_type      text,
    status        text,
    output        jsonb,
    error_code    text,
    error_message text,
    attempt       integer,
    lease_epoch   integer,
    agent_id      text,
    claimed_at    timestamptz,
    started_at    timestamptz,
    live_key      text,
    wake          boolean
);

alter table jobengine.job_type enable row level security;
alter table jobengine.job enable row level security;
alter table jobengine.ready enable row level security;
alter table jobengine.lease enable row level security;
alter table jobengine.ended enable row level security;
alter table jobengine.failure enable row level security;
alter table jobengine.live_key enable row level security;
alter table jobengine.waiting enable row level security;
