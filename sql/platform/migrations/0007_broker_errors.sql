-- What the broker said of an account's newest orders, and until when no more are sent because of it.

alter table public.broker_connections
    add column soft_errors smallint not null default 0,
    add column hard_errors smallint not null default 0,
    add column paused_until timestamptz,                       -- null: the broker is trusted
    add column resumed smallint not null default 0;            -- trades that were filled since then, in a row
