-- Webhooks: how a secret is found, what a strategy asks of its alerts, and what is known of a signal on its way.

alter table public.tv_strategies
    -- SHA-256 of the secret: the index that is searched tells nobody the secrets (a trigger keeps it)
    add column secret_digest bytea,
    -- after a rotation the old secret works until then
    add column previous_secret_digest bytea,
    add column previous_secret_until timestamptz,
    add column secret_rotated_at timestamptz,
    add column default_volume numeric(20, 8),
    add column expires_in integer not null default 300,      -- seconds that an alert is worth acting on; 0: for ever
    add column dedup_enabled boolean not null default true,
    add column dedup_seconds integer not null default 20,    -- the same body within them is one alert
    add column allowed_sources inet[],                       -- null: from anywhere
    -- what its orders carry at the broker: 31 bits of a hash of the id
    add column magic integer not null generated always as (
        greatest(('x' || encode(substring(sha256(uuid_send(id)) from 1 for 4), 'hex'))::bit(32)::integer & 2147483647,
                 1)) stored,
    add constraint tv_strategies_values_check check (
        risk_override_pct > 0 and risk_override_pct <= 100 and default_volume > 0
        and expires_in between 0 and 31536000 and dedup_seconds between 1 and 86400) not valid;
update public.tv_strategies set secret_digest = sha256(convert_to(webhook_secret, 'UTF8'));
alter table public.tv_strategies alter column secret_digest set not null;
create unique index tv_strategies_secret_digest_key on public.tv_strategies (secret_digest);
create index tv_strategies_previous_secret_digest_idx on public.tv_strategies (previous_secret_digest)
    where previous_secret_digest is not null;
-- two strategies of a user with one magic would close each other's positions
create unique index tv_strategies_magic_key on public.tv_strategies (user_id, magic);

alter table public.tv_signals
    -- what a table of before us may lack
    add column if not exists symbol text,
    add column if not exists action text,
    add column if not exists broker_order_id text,
    add column if not exists error_message text,
    add column if not exists raw_payload jsonb not null default '{}',
    add column if not exists resolved_at timestamptz,
    add column dedup_key text,
    add column decided_at timestamptz,
    add column source_ip inet;
-- an alert that passed as far as the check for duplicates holds its key
create unique index tv_signals_dedup_key on public.tv_signals (strategy_id, dedup_key);
-- signal_list walks it
create index tv_signals_page_idx on public.tv_signals (user_id, created_at desc, id desc);

-- the way of a signal, the open positions of a strategy, what was closed of a position
create index trade_events_signal_id_idx on public.trade_events (signal_id) where signal_id is not null;
create index trade_events_strategy_id_idx on public.trade_events (strategy_id) where strategy_id is not null;
create index trade_events_position_id_idx on public.trade_events (broker_connection_id, position_id)
    where position_id is not null;

-- An alert as the service read it; what could not be read is null, and payload has all of it.
create type public._alert as (
    signal_id   uuid,
    received_at timestamptz,
    source      inet,
    dedup_key   text,
    symbol      text,
    action      text,      -- buy, sell, close, close_long, close_short
    volume      numeric,
    sl          numeric,
    tp          numeric,
    price       numeric,
    payload     jsonb
);
