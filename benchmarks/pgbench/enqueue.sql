-- One job per transaction, its input as long as everywhere; the ids come back.
\set n random(100000, 199999)
select job_id from jobengine.enqueue(
    array['noop'], array[jsonb_build_object('n', :n::integer, 'pad', repeat('x', 76))]);
