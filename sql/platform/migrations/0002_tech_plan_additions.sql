-- T03: the six additions of the technical plan. Safe to run twice.

-- 1. The pairing key of an agent: bcrypt of the whole key, and 8 characters to tell keys apart.
alter table public.mt5_agents
    add column if not exists pairing_key_hash text,
    add column if not exists pairing_key_prefix text;

-- 2. jobs: the columns and the nine types. Where jobs is the view over the engine there is nothing to alter: it has
-- the columns, and the engine refuses a type that job_types.sql does not register. A table of that name makes room
-- for the view; legacy.sql puts its open rows into the engine.
do $$
begin
    if exists (select from pg_catalog.pg_class
               where relnamespace = 'public'::regnamespace and relname = 'jobs' and relkind in ('r', 'p')) then
        alter table public.jobs rename to jobs_legacy;
        alter table public.jobs_legacy
            add column if not exists enqueued_job_id uuid,
            enable row level security;
        revoke all on public.jobs_legacy from public, anon, authenticated;
    end if;
end;
$$;

-- 3. The version that is open in the editor, which is one of this project.
alter table public.ea_projects add column if not exists current_version_id uuid;
alter table public.ea_projects
    drop constraint if exists ea_projects_current_version_id_fkey,
    add constraint ea_projects_current_version_id_fkey
        foreign key (current_version_id, id) references public.ea_versions (id, project_id)
        on delete set null (current_version_id);
create index if not exists ea_projects_current_version_id_idx on public.ea_projects (current_version_id);

-- 4. Strategies that send signals.
create table if not exists public.tv_strategies (
    id                   uuid primary key default gen_random_uuid(),
    user_id              uuid not null references auth.users on delete cascade,
    broker_connection_id uuid,
    name                 text not null,
    webhook_secret       text not null unique,
    risk_override_pct    numeric(5, 2),
    allowed_pairs        text[],
    is_enabled           boolean not null default true,
    created_at           timestamptz not null default now(),
    updated_at           timestamptz not null default now()
);
alter table public.tv_strategies
    drop constraint if exists tv_strategies_broker_connection_id_fkey,
    add constraint tv_strategies_broker_connection_id_fkey
        foreign key (broker_connection_id, user_id) references public.broker_connections (id, user_id);
create unique index if not exists tv_strategies_owner_key on public.tv_strategies (id, user_id);
create index if not exists tv_strategies_webhook_secret_idx on public.tv_strategies (webhook_secret);
create index if not exists tv_strategies_user_id_idx on public.tv_strategies (user_id);
create index if not exists tv_strategies_broker_connection_id_idx on public.tv_strategies (broker_connection_id);
alter table public.tv_strategies enable row level security;
drop policy if exists "Users manage own strategies" on public.tv_strategies;
create policy "Users manage own strategies" on public.tv_strategies for all using ((select auth.uid()) = user_id);

-- 5. Every signal that was received, whatever came of it. Volumes and prices keep 8 decimals: two round 0.001 lots
-- to nothing.
create table if not exists public.tv_signals (
    id              uuid primary key default gen_random_uuid(),
    user_id         uuid not null references auth.users on delete cascade,
    strategy_id     uuid,
    status          text not null default 'pending',
    symbol          text,
    action          text,
    volume          numeric(20, 8),
    fill_price      numeric(20, 8),
    broker_order_id text,
    error_message   text,
    raw_payload     jsonb not null default '{}',
    created_at      timestamptz not null default now(),
    resolved_at     timestamptz
);
alter table public.tv_signals
    add column if not exists price numeric(20, 8),
    add column if not exists job_id uuid,
    add column if not exists received_at timestamptz generated always as (created_at) stored,
    alter column volume type numeric(20, 8),
    alter column fill_price type numeric(20, 8),
    drop constraint if exists tv_signals_status_check,
    add constraint tv_signals_status_check check (status in ('pending', 'executed', 'failed', 'discarded')),
    drop constraint if exists tv_signals_strategy_id_fkey,
    add constraint tv_signals_strategy_id_fkey
        foreign key (strategy_id, user_id) references public.tv_strategies (id, user_id) on delete cascade,
    drop constraint if exists tv_signals_job_id_fkey;
-- A signal that named a row of jobs_legacy names no job of the engine.
update public.tv_signals s set job_id = null
where s.job_id is not null and not exists (select from jobengine.job j where j.job_id = s.job_id);
alter table public.tv_signals
    add constraint tv_signals_job_id_fkey foreign key (job_id) references jobengine.job (job_id) on delete set null;
create index if not exists tv_signals_strategy_id_idx on public.tv_signals (strategy_id);
create index if not exists tv_signals_user_id_idx on public.tv_signals (user_id);
create index if not exists tv_signals_received_at_idx on public.tv_signals (received_at desc);
-- prune of the engine's jobs looks here
create index if not exists tv_signals_job_id_idx on public.tv_signals (job_id);
alter table public.tv_signals enable row level security;
drop policy if exists "Users read own signals" on public.tv_signals;
create policy "Users read own signals" on public.tv_signals for select using ((select auth.uid()) = user_id);

-- 6. claim_next_job is functions/claim_next_job.sql.
