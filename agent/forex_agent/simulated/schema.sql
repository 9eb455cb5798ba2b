-- The book of a simulated account. Money, volumes and prices are exact decimals kept as text;
-- times are milliseconds since 1970 in UTC. A position's ticket is the id of the order that opened it.
create table if not exists account (
    only_one integer primary key check (only_one = 1),
    currency text not null,
    leverage integer not null,
    initial text not null,
    balance text not null
);

create table if not exists orders (
    order_id integer primary key autoincrement,
    position_id integer not null,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    volume text not null,
    filled text not null,
    magic integer not null,
    comment text not null,
    reason text not null,
    state text not null check (state in ('placed', 'filled', 'partial', 'refused')),
    created integer not null,
    -- Of one that is filled later, whatever became of whoever sent it: when, and with which stops.
    due integer check ((due is null) <= (state <> 'placed')),
    sl text,
    tp text
);
create index if not exists orders_due on orders (due) where state = 'placed';
create index if not exists orders_comment on orders (comment);

create table if not exists positions (
    ticket integer primary key,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    volume text not null,
    open_price integer not null,
    sl integer,
    tp integer,
    margin_per_lot text not null,
    swap text not null,
    magic integer not null,
    comment text not null,
    opened integer not null,
    checked integer not null
);

create table if not exists deals (
    deal_id integer primary key autoincrement,
    order_id integer not null references orders,
    position_id integer not null,
    symbol text not null,
    side text not null check (side in ('buy', 'sell')),
    entry text not null check (entry in ('in', 'out')),
    volume text not null,
    price text not null,
    profit text not null,
    commission text not null,
    swap text not null,
    magic integer not null,
    comment text not null,
    reason text not null check (reason in ('client', 'expert', 'sl', 'tp', 'stop_out', 'other')),
    time integer not null
);
create index if not exists deals_comment on deals (comment);
create index if not exists deals_time on deals (time);

-- Faults that are switched on from outside; `remaining` is null for one that stays.
create table if not exists faults (
    kind text primary key,
    remaining integer,
    seconds real not null,
    calls text not null check (calls in ('trade', 'all'))
);
