-- Trading: what orders, reads and deals need beside the tables of before.

-- The key of an order names the job that it made; begin and end of a request are one transaction now.
drop function if exists public.idempotency_begin(uuid, text, bytea);
drop function if exists public.idempotency_end(uuid, text, integer, jsonb);
delete from public.idempotency_key;
alter table public.idempotency_key
    drop column status,
    drop column body,
    drop column begun_at,
    add column job_id uuid not null;
-- order_create takes the oldest away
create index idempotency_key_created_at_idx on public.idempotency_key (created_at);

-- Profit and loss of a day are of one account, in its currency. Nothing has written the table before.
delete from public.daily_pnl;
alter table public.daily_pnl
    add column broker_connection_id uuid not null,
    drop constraint daily_pnl_pkey,
    add primary key (user_id, broker_connection_id, day),
    add foreign key (broker_connection_id, user_id)
        references public.broker_connections (id, user_id) on delete cascade;
create index daily_pnl_broker_connection_id_idx on public.daily_pnl (broker_connection_id, user_id);

-- What the newest report of the account's agent said.
alter table public.broker_connections add column open_positions integer check (open_positions >= 0);

-- a user's orders, newest first
create index trade_events_orders_idx on public.trade_events (user_id, job_id) where event = 'requested';
-- those of a client's own number
create index trade_events_client_order_id_idx on public.trade_events (user_id, (detail ->> 'client_order_id'))
    where event = 'requested' and (detail ->> 'client_order_id') is not null;
-- the newest change of an account, which tells reads apart
create index trade_events_book_idx on public.trade_events (broker_connection_id, id)
    where event not in ('requested', 'blocked', 'claimed', 'sent');
