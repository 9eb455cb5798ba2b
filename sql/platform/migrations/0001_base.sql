-- What the source documents use as it is. A table that exists already is kept and gets the columns that it lacks.
-- Every reference to another row of a user carries the user's id too, so that no row can point at a stranger's.

-- Users, where nobody else (Supabase) keeps them.
do $$
begin
    if to_regnamespace('auth') is not null then
        return;
    end if;
    create schema auth;
    comment on schema auth is 'jobengine platform: users of a plain PostgreSQL';
    create table auth.users (
        id         uuid primary key default gen_random_uuid(),
        email      text unique,
        created_at timestamptz not null default now()
    );
    create function auth.jwt() returns jsonb language sql stable as
        'select coalesce(nullif(current_setting(''request.jwt.claims'', true), ''''), ''{}'')::jsonb';
    create function auth.uid() returns uuid language sql stable as
        'select coalesce(nullif(current_setting(''request.jwt.claim.sub'', true), ''''), auth.jwt() ->> ''sub'')::uuid';
    create function auth.role() returns text language sql stable as
        'select coalesce(nullif(current_setting(''request.jwt.claim.role'', true), ''''), auth.jwt() ->> ''role'')';
    grant usage on schema auth to anon, authenticated, service_role;
end;
$$;

create table if not exists public.profiles (id uuid primary key references auth.users on delete cascade);
alter table public.profiles
    add column if not exists email text,
    add column if not exists display_name text,
    add column if not exists timezone text not null default 'UTC',
    add column if not exists onboarding_completed_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();

create table if not exists public.user_settings (user_id uuid primary key references public.profiles on delete cascade);
alter table public.user_settings
    add column if not exists daily_loss_limit_pct numeric(5, 2),
    add column if not exists risk_per_trade_pct numeric(5, 2),
    add column if not exists max_volume numeric(20, 8),
    add column if not exists max_open_positions integer,
    add column if not exists max_orders_per_minute integer,
    add column if not exists default_volume numeric(20, 8),
    add column if not exists trading_state text not null default 'active',
    add column if not exists disclaimer_accepted_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists user_settings_values_check,
    add constraint user_settings_values_check check (
        daily_loss_limit_pct > 0 and daily_loss_limit_pct <= 100
        and risk_per_trade_pct > 0 and risk_per_trade_pct <= 100
        and max_volume > 0 and default_volume > 0 and max_open_positions > 0 and max_orders_per_minute > 0),
    drop constraint if exists user_settings_trading_state_check,
    add constraint user_settings_trading_state_check check (trading_state in ('active', 'reducing', 'halted'));

create table if not exists public.broker_connections (
    id      uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade
);
alter table public.broker_connections
    add column if not exists name text not null default '',
    add column if not exists broker text,
    add column if not exists server text,
    add column if not exists login text,
    add column if not exists account_currency text,
    add column if not exists account_mode text,
    add column if not exists margin_mode text,
    add column if not exists is_default boolean not null default false,
    add column if not exists status text,
    add column if not exists symbol_map jsonb not null default '{}',
    add column if not exists symbol_suffix text,
    add column if not exists last_balance numeric(20, 2),
    add column if not exists last_equity numeric(20, 2),
    add column if not exists snapshot_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists broker_connections_values_check,
    add constraint broker_connections_values_check check (
        account_currency ~ '^[A-Z]{3}$' and account_mode in ('demo', 'real', 'contest')
        and margin_mode in ('hedging', 'netting') and jsonb_typeof(symbol_map) = 'object');
create unique index if not exists broker_connections_owner_key on public.broker_connections (id, user_id);
create index if not exists broker_connections_user_id_idx on public.broker_connections (user_id);
-- one default account per user
create unique index if not exists broker_connections_default_key
    on public.broker_connections (user_id) where is_default;

create table if not exists public.mt5_agents (
    id      uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade
);
alter table public.mt5_agents
    add column if not exists broker_connection_id uuid,
    add column if not exists name text not null default '',
    add column if not exists mt5_login text,
    add column if not exists mt5_server text,
    add column if not exists password_encrypted text,
    add column if not exists is_connected boolean not null default false,
    add column if not exists last_heartbeat timestamptz,
    add column if not exists last_seen_at timestamptz,
    add column if not exists status text,
    add column if not exists metrics jsonb not null default '{}',
    add column if not exists agent_version text,
    add column if not exists capabilities text[],
    add column if not exists platform text,
    add column if not exists config jsonb not null default '{}',
    add column if not exists config_version integer not null default 0,
    add column if not exists config_sent_version integer not null default 0,
    add column if not exists pairing_key_digest bytea,
    add column if not exists previous_key_hash text,
    add column if not exists previous_key_digest bytea,
    add column if not exists previous_key_until timestamptz,
    add column if not exists key_rotated_at timestamptz,
    add column if not exists revoked_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists mt5_agents_platform_check,
    add constraint mt5_agents_platform_check check (platform in ('mt5', 'simulated')),
    drop constraint if exists mt5_agents_broker_connection_id_fkey,
    add constraint mt5_agents_broker_connection_id_fkey
        foreign key (broker_connection_id, user_id) references public.broker_connections (id, user_id);
create unique index if not exists mt5_agents_owner_key on public.mt5_agents (id, user_id);
-- agent_list walks it
create index if not exists mt5_agents_user_id_idx on public.mt5_agents (user_id, created_at, id);
create index if not exists mt5_agents_broker_connection_id_idx on public.mt5_agents (broker_connection_id);

create table if not exists public.ea_projects (
    id      uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade
);
alter table public.ea_projects
    add column if not exists name text not null default '',
    add column if not exists description text,
    add column if not exists symbol text,
    add column if not exists timeframe text,
    add column if not exists archived_at timestamptz,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();
create unique index if not exists ea_projects_owner_key on public.ea_projects (id, user_id);
create index if not exists ea_projects_user_id_idx on public.ea_projects (user_id);

create table if not exists public.ea_versions (
    id         uuid primary key default gen_random_uuid(),
    project_id uuid not null,
    user_id    uuid not null references auth.users on delete cascade
);
alter table public.ea_versions
    add column if not exists version_number integer not null default 1,
    add column if not exists source_code text not null default '',
    add column if not exists source text not null default 'manual',
    add column if not exists status text not null default 'draft',
    add column if not exists compilation_error text,
    add column if not exists warnings integer,
    add column if not exists prompt text,
    add column if not exists model text,
    add column if not exists generation_meta jsonb,
    add column if not exists compiled_at timestamptz,
    add column if not exists last_job_id uuid,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists ea_versions_source_check,
    add constraint ea_versions_source_check check (source in ('generated', 'manual', 'import')),
    drop constraint if exists ea_versions_status_check,
    add constraint ea_versions_status_check check (status in ('draft', 'compiling', 'compiled', 'failed')),
    drop constraint if exists ea_versions_project_id_fkey,
    add constraint ea_versions_project_id_fkey
        foreign key (project_id, user_id) references public.ea_projects (id, user_id) on delete cascade;
create unique index if not exists ea_versions_owner_key on public.ea_versions (id, user_id);
-- what a project's current version references
create unique index if not exists ea_versions_project_key on public.ea_versions (id, project_id);
create unique index if not exists ea_versions_number_key on public.ea_versions (project_id, version_number);
create index if not exists ea_versions_user_id_idx on public.ea_versions (user_id);

create table if not exists public.ea_artifacts (
    id         uuid primary key default gen_random_uuid(),
    version_id uuid not null,
    user_id    uuid not null references auth.users on delete cascade
);
alter table public.ea_artifacts
    add column if not exists kind text not null default 'ex5',
    add column if not exists storage_path text not null default '',
    add column if not exists sha256 bytea,
    add column if not exists size_bytes bigint,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists ea_artifacts_kind_check,
    add constraint ea_artifacts_kind_check check (kind in ('mq5', 'ex5', 'log')),
    drop constraint if exists ea_artifacts_version_id_fkey,
    add constraint ea_artifacts_version_id_fkey
        foreign key (version_id, user_id) references public.ea_versions (id, user_id) on delete cascade;
-- one of a kind per version: a newer compilation replaces it
create unique index if not exists ea_artifacts_kind_key on public.ea_artifacts (version_id, kind);
create index if not exists ea_artifacts_user_id_idx on public.ea_artifacts (user_id);

create table if not exists public.ea_deployments (
    id         uuid primary key default gen_random_uuid(),
    user_id    uuid not null references auth.users on delete cascade,
    version_id uuid not null
);
alter table public.ea_deployments
    add column if not exists broker_connection_id uuid,
    add column if not exists agent_id uuid,
    add column if not exists symbol text,
    add column if not exists timeframe text,
    add column if not exists inputs jsonb not null default '{}',
    add column if not exists magic bigint,
    add column if not exists status text not null default 'pending',
    add column if not exists error_message text,
    add column if not exists deployed_at timestamptz,
    add column if not exists started_at timestamptz,
    add column if not exists stopped_at timestamptz,
    add column if not exists last_job_id uuid,
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now(),
    drop constraint if exists ea_deployments_status_check,
    add constraint ea_deployments_status_check check (
        status in ('pending', 'deploying', 'deployed', 'running', 'stopping', 'stopped', 'failed')),
    drop constraint if exists ea_deployments_version_id_fkey,
    add constraint ea_deployments_version_id_fkey
        foreign key (version_id, user_id) references public.ea_versions (id, user_id),
    drop constraint if exists ea_deployments_broker_connection_id_fkey,
    add constraint ea_deployments_broker_connection_id_fkey
        foreign key (broker_connection_id, user_id) references public.broker_connections (id, user_id),
    drop constraint if exists ea_deployments_agent_id_fkey,
    add constraint ea_deployments_agent_id_fkey
        foreign key (agent_id, user_id) references public.mt5_agents (id, user_id);
create index if not exists ea_deployments_user_id_idx on public.ea_deployments (user_id);
create index if not exists ea_deployments_version_id_idx on public.ea_deployments (version_id);
create index if not exists ea_deployments_broker_connection_id_idx on public.ea_deployments (broker_connection_id);
create index if not exists ea_deployments_agent_id_idx on public.ea_deployments (agent_id);

-- What happened to orders. It only grows, and outlives everything it names: plain ids, no reference.
create table if not exists public.trade_events (
    id      bigint generated always as identity primary key,
    user_id uuid not null
);
alter table public.trade_events
    add column if not exists agent_id uuid,
    add column if not exists broker_connection_id uuid,
    add column if not exists job_id uuid,
    add column if not exists signal_id uuid,
    add column if not exists strategy_id uuid,
    add column if not exists event text not null default 'requested',
    add column if not exists symbol text,
    add column if not exists side text,
    add column if not exists volume numeric(20, 8),
    add column if not exists price numeric(20, 8),
    add column if not exists sl numeric(20, 8),
    add column if not exists tp numeric(20, 8),
    add column if not exists retcode integer,
    add column if not exists broker_order_id text,
    add column if not exists deal_id text,
    add column if not exists position_id text,
    add column if not exists realized_pnl numeric(20, 2),
    add column if not exists commission numeric(20, 2),
    add column if not exists swap numeric(20, 2),
    add column if not exists latency_ms integer,
    add column if not exists actor text,
    add column if not exists detail jsonb not null default '{}',
    add column if not exists occurred_at timestamptz not null default now(),
    drop constraint if exists trade_events_event_check,
    add constraint trade_events_event_check check (event in (
        'requested', 'blocked', 'claimed', 'sent', 'filled', 'partially_filled', 'rejected', 'unknown', 'reconciled',
        'closed', 'expired', 'cancelled'));
create index if not exists trade_events_user_id_idx on public.trade_events (user_id, occurred_at);
create index if not exists trade_events_job_id_idx on public.trade_events (job_id);
-- a deal of the broker is told once
create unique index if not exists trade_events_deal_key on public.trade_events (broker_connection_id, deal_id);

-- What an account was worth; the first of a day is the base of its loss limit.
create table public.account_snapshots (
    id                   uuid primary key default gen_random_uuid(),
    user_id              uuid not null references auth.users on delete cascade,
    broker_connection_id uuid not null,
    balance              numeric(20, 2) not null,
    equity               numeric(20, 2) not null,
    margin_used          numeric(20, 2),
    margin_available     numeric(20, 2),
    taken_at             timestamptz not null default now(),
    foreign key (broker_connection_id, user_id)
        references public.broker_connections (id, user_id) on delete cascade
);
create index account_snapshots_user_id_idx on public.account_snapshots (user_id, taken_at);
create index account_snapshots_broker_connection_id_idx on public.account_snapshots (broker_connection_id, taken_at);

-- Realised profit and loss of a user's day, in the user's time zone.
create table public.daily_pnl (
    user_id      uuid not null references auth.users on delete cascade,
    day          date not null,
    realized_pnl numeric(20, 2) not null default 0,
    base_balance numeric(20, 2),
    updated_at   timestamptz not null default now(),
    primary key (user_id, day)
);

-- Answers of requests that carried an Idempotency-Key, for a day.
create table public.idempotency_key (
    user_id      uuid not null references auth.users on delete cascade,
    key          text not null check (length(key) between 1 and 255),
    request_hash bytea not null,
    status       integer,
    body         jsonb,
    created_at   timestamptz not null,
    begun_at     timestamptz not null,
    primary key (user_id, key)
);

-- Who changed settings, keys and switches. It only grows and outlives the user.
create table public.audit_log (
    id          bigint generated always as identity primary key,
    user_id     uuid,
    actor       text not null,
    action      text not null check (length(action) between 1 and 200),
    detail      jsonb not null default '{}',
    ip          inet,
    occurred_at timestamptz not null default now()
);
create index audit_log_user_id_idx on public.audit_log (user_id, occurred_at);

alter table public.profiles enable row level security;
alter table public.user_settings enable row level security;
alter table public.broker_connections enable row level security;
alter table public.mt5_agents enable row level security;
alter table public.ea_projects enable row level security;
alter table public.ea_versions enable row level security;
alter table public.ea_artifacts enable row level security;
alter table public.ea_deployments enable row level security;
alter table public.trade_events enable row level security;
alter table public.account_snapshots enable row level security;
alter table public.daily_pnl enable row level security;
alter table public.idempotency_key enable row level security;
alter table public.audit_log enable row level security;

-- Users who were there before us; later ones get theirs by a trigger.
insert into public.profiles (id, email) select u.id, u.email from auth.users u on conflict do nothing;
insert into public.user_settings (user_id) select u.id from auth.users u on conflict do nothing;
