-- The whole coupling to the engine: the nine types of jobs, what an agent may take how long, whether it can be done
-- again, and who carries the end to the parents. Platform jobs that an agent reports are not tried again; the attempts
-- are for leases that ran out. An order is never sent twice.
select jobengine.register_job_type(
    p_job_type => t.job_type, p_priority => t.priority, p_lease_seconds => t.lease_seconds,
    p_delivery => t.delivery, p_max_attempts => t.max_attempts, p_settle => t.settle)
from (values
    ('trade',          0,  30, 'at_most_once',  1, 'public.settle_trade'),
    ('close_position', 0,  30, 'at_most_once',  1, 'public.settle_close_position'),
    ('get_positions',  3,  15, 'at_least_once', 3, ''),
    ('get_account',    3,  15, 'at_least_once', 3, ''),
    ('get_candles',    3,  15, 'at_least_once', 3, ''),
    ('compile',        6, 300, 'at_least_once', 3, 'public.settle_compile'),
    ('deploy',         6,  60, 'at_least_once', 3, 'public.settle_deployment'),
    ('run',            6,  60, 'at_least_once', 3, 'public.settle_deployment'),
    ('stop',           6,  60, 'at_least_once', 3, 'public.settle_deployment')
) t (job_type, priority, lease_seconds, delivery, max_attempts, settle);
