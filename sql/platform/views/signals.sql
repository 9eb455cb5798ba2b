-- public.signals: signals with the reason in words and their way: the milliseconds from each hop to the next.
-- `received` is when the alert came, `decided` when its job was in or it was discarded, `claimed` when an agent had
-- it, `sent` when the terminal got it, `filled` when the broker had answered.
create or replace view public.signals with (security_invoker = true) as
select
    s.id,
    s.user_id,
    s.strategy_id,
    t.name as strategy_name,
    s.symbol,
    s.action,
    a.volume,
    s.price,
    s.status,
    a.fill_price,
    s.broker_order_id,
    s.error_message,
    public._reason(s.error_message) as reason,
    s.raw_payload,
    s.source_ip,
    s.job_id,
    s.created_at,
    s.received_at,
    s.decided_at,
    e.claimed_at,
    e.sent_at,
    e.filled_at,
    s.resolved_at,
    public._milliseconds(s.received_at, s.decided_at) as decided_ms,
    public._milliseconds(s.decided_at, e.claimed_at) as claimed_ms,
    public._milliseconds(e.claimed_at, e.sent_at) as sent_ms,
    public._milliseconds(e.sent_at, e.filled_at) as filled_ms,
    public._milliseconds(s.received_at, e.filled_at) as total_ms
from public.tv_signals s
left join public.tv_strategies t on t.id = s.strategy_id
cross join lateral public._signal_amounts(s) a
cross join lateral (
    select min(v.occurred_at) filter (where v.event = 'claimed') as claimed_at,
           min(v.occurred_at) filter (where v.event = 'sent') as sent_at,
           max(v.occurred_at) filter (where v.event in ('filled', 'partially_filled', 'closed')) as filled_at
    from public.trade_events v
    where v.signal_id = s.id
) e;
