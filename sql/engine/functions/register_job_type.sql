-- jobengine.register_job_type: creates a job type or changes its limits; null leaves a value (or its default).
-- Transition: none
-- Returns: nothing.
-- Writes: job_type
-- Locks: the type's row; it waits for a call that changes it.
-- Calls: _now, _check_settle, _invalid
-- Raises: JE002, JE003
-- Concurrency: the last call wins. Jobs keep the limits and the delivery they were enqueued with; backoff and
--   the settle function are read when they are used. p_settle is 'schema.function'; '' takes it away.
create or replace function jobengine.register_job_type(
    p_job_type text,
    p_priority integer default null,
    p_max_attempts integer default null,
    p_lease_seconds double precision default null,
    p_delivery text default null,
    p_backoff_seconds double precision default null,
    p_backoff_max_seconds double precision default null,
    p_settle text default null
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_now timestamptz := jobengine._now();
    v_settle text[];
    v_old jobengine.job_type;
begin
    begin
        v_settle := case when p_settle <> '' then parse_ident(p_settle) end;
    exception when invalid_parameter_value then
        v_settle := '{}';
    end;
    select * into v_old from jobengine.job_type t where t.job_type = p_job_type for update;
    perform jobengine._invalid(r.field, r.rule)
    from (values
        ('job_type', '1 to 128 of A-Z a-z 0-9 . _ / : @ -, a letter or digit first',
            p_job_type ~ '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$'),
        ('priority', 'from 0 (first) to 9', coalesce(p_priority, 5) between 0 and 9),
        ('max_attempts', 'from 1 to 1000', coalesce(p_max_attempts, 5) between 1 and 1000),
        ('lease_seconds', 'from 0.1 to 86400', coalesce(p_lease_seconds, 60) between 0.1 and 86400),
        ('delivery', 'at_least_once or at_most_once',
            coalesce(p_delivery, 'at_least_once') in ('at_least_once', 'at_most_once')),
        ('backoff_max_seconds', 'from 0 to 604800', coalesce(p_backoff_max_seconds, 3600) between 0 and 604800),
        ('backoff_seconds', 'from 0 to backoff_max_seconds',
            coalesce(p_backoff_seconds, v_old.backoff_seconds, 1)
            between 0 and coalesce(p_backoff_max_seconds, v_old.backoff_max_seconds, 3600)),
        ('settle', 'schema.function', p_settle is null or p_settle = '' or cardinality(v_settle) = 2)
    ) r (field, rule, holds)
    where r.holds is not true
    limit 1;
    if v_settle is not null then
        perform jobengine._check_settle(v_settle[1], v_settle[2]);
    end if;
    insert into jobengine.job_type as t (
        job_type, priority, max_attempts, lease_seconds, delivery,
        backoff_seconds, backoff_max_seconds, settle_schema, settle_function, created_at, updated_at)
    values (
        p_job_type, coalesce(p_priority, 5), coalesce(p_max_attempts, 5), coalesce(p_lease_seconds, 60),
        coalesce(p_delivery, 'at_least_once'), coalesce(p_backoff_seconds, 1),
        coalesce(p_backoff_max_seconds, 3600), v_settle[1], v_settle[2], v_now, v_now)
    on conflict (job_type) do update set
        priority = coalesce(p_priority, t.priority),
        max_attempts = coalesce(p_max_attempts, t.max_attempts),
        lease_seconds = coalesce(p_lease_seconds, t.lease_seconds),
        delivery = coalesce(p_delivery, t.delivery),
        backoff_seconds = coalesce(p_backoff_seconds, t.backoff_seconds),
        backoff_max_seconds = coalesce(p_backoff_max_seconds, t.backoff_max_seconds),
        settle_schema = case when p_settle is null then t.settle_schema else v_settle[1] end,
        settle_function = case when p_settle is null then t.settle_function else v_settle[2] end,
        updated_at = v_now;
end;
$$;
