-- public._check_deals: refuses what is no report of deals.
-- Returns: nothing.
-- Writes: nothing
-- Locks: nothing
-- Calls: _refuse, _number, _time
-- Raises: FX422
create or replace function public._check_deals(p_deals jsonb, p_account jsonb) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform public._refuse('FX422', 'invalid', 'deals', 'a JSON array of at most 500 deals')
    where case when jsonb_typeof(p_deals) = 'array' then jsonb_array_length(p_deals) > 500 else true end;
    perform public._refuse('FX422', 'invalid', 'account', 'a JSON object')
    where jsonb_typeof(p_account) <> 'object';
    perform public._refuse('FX422', 'invalid', format('deals[%s].%s', d.place - 1, r.field), r.rule)
    from jsonb_array_elements(p_deals) with ordinality d (deal, place)
    cross join lateral (values
        ('deal_id', '1 to 64 characters', length(d.deal ->> 'deal_id') between 1 and 64),
        ('entry', 'in, out, inout or out_by', d.deal ->> 'entry' in ('in', 'out', 'inout', 'out_by')),
        ('volume', 'a number', public._number(d.deal -> 'volume') is not null),
        ('price', 'a number', public._number(d.deal -> 'price') is not null),
        ('time', 'a time in RFC 3339', public._time(d.deal ->> 'time') is not null)
    ) r (field, rule, holds)
    where r.holds is not true
    order by d.place
    limit 1;
end;
$$;
