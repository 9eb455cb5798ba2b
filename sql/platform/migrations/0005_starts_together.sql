-- Starts of all agents of a process share a call: the agent comes with each job.

drop function if exists public.agent_start(uuid, uuid[], integer[]);
