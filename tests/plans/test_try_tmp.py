import psycopg, json
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from tests.plans.explain import *
from tests.plans.backlog import *
def test_try(database_url, admin_url):
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as c:
        b=Backlog(c); b.grow(1); b.analyze()
        with explaining(admin_url,database_url,"force_generic_plan") as e:
            txt=[]
            e.conn.add_notice_handler(lambda n: txt.append(n.message_primary))
            q=("select * from jobengine.claim(%s)", Jsonb([{"queues":QUEUES,"agent_id":"agent 5","limit":10, "request_id": str(UUID(int=0))}]))
            e.work(*q); txt.clear()
            w=e.work(*q)
            for x in w.scans: print(x)
            for p_ in e._plans: print(p_["Query Text"][:80].replace("\n"," "), p_["Plan"]["Shared Hit Blocks"])
            for p_ in e._plans:
                if "lease l" in p_["Query Text"] and "agent_id" in p_["Query Text"]: print(json.dumps(p_["Plan"],indent=1))
