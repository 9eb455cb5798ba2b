-- What enqueue checks of each item, for the rows that COPY left in `incoming`.
select i.item from incoming i
where pg_column_size(i.input) > 1048576
   or pg_column_size(i.meta) > 1048576
   or jsonb_typeof(i.meta) <> 'object'
   or i.queue !~ '^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,127}$'
   or i.priority not between 0 and 9
   or i.run_at is not null and i.delay is not null
   or not isfinite(i.run_at)
   or i.delay not between 0 and 315360000
   or i.expires_at is not null and i.expires_in is not null
   or not isfinite(i.expires_at)
   or i.expires_in <= 0 or i.expires_in > 315360000
   or i.max_attempts not between 1 and 1000
   or i.lease_seconds not between 0.1 and 86400
limit 1
