"""Capture and one of three sinks killed every few seconds: the tables end equal, and every effect came once."""
import os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SCALE, SEED, Scenario, main, scaled, wait_for

import threading

import psycopg


class Kill(Scenario):
    def test_sigkill_every_few_seconds_loses_and_repeats_nothing(self):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        w.configure()
        w.source.sql(f'call fill({scaled(10000) // 2})')
        names = ['capture', 'sink-1', 'sink-2', 'sink-3']
        running = {n: w.start(n.split('-')[0], name=n) for n in names}
        worker = threading.Thread(target=self.work, args=(w.source.url,))
        worker.start()
        end, kills = time.monotonic() + max(25, 60 * min(SCALE, 5)), 0
        while worker.is_alive() or time.monotonic() < end:
            time.sleep(w.random.uniform(1.0, 4.0))
            victim = w.random.choice(['capture', 'sink-1', w.random.choice(names)])
            self.assertFalse(running[victim].ended(), f'{victim} ended by itself with {running[victim].popen.poll()}\n{running[victim].tail()}')
            running[victim].kill()
            kills += 1
            time.sleep(w.random.uniform(0.0, 0.7))
            running[victim] = w.start(victim.split('-')[0], name=victim)
            if time.monotonic() > end + 300:
                self.fail('the work did not end')
        worker.join()
        print(f'{kills} kills', flush=True)
        w.settle(seconds=240, alive=list(running.values()))
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])
        self.once(w)

    def work(self, url):
        with psycopg.connect(url, autocommit=True) as c:
            c.execute(f'call fill({scaled(10000) // 2})')
            for part in range(20):
                c.execute(f'call work({scaled(40000) // 20}, {((SEED + part * 7919) % 1000) / 1000}, 50)')
                time.sleep(min(1.0, SCALE))

    def once(self, w):
        """The destination's own log of its row changes: per contact, rev only ever grows, and no change is made twice."""
        changes = w.destination.sql("""select n, op, key, (old ->> 'rev')::bigint, (new ->> 'rev')::bigint, old is not distinct from new from audit order by n""")
        last, wrong = {}, []
        for n, op, key, old, new, nothing in changes:
            if op == 'DELETE':
                continue
            if nothing or new <= last.get(key, 0):
                wrong.append(f'change {n}: {op} of {key} from rev {old} to {new} after rev {last.get(key)}')
            last[key] = max(new, last.get(key, 0))
        self.assertEqual(wrong[:10], [], f'{len(wrong)} of {len(changes)} row changes went back or came twice')
        events = {e['event_id'] for e in w.events()}
        processed = w.destination.one('select count(*) from identity.sync_processed_events')
        self.assertEqual(processed, len(events), 'processed events and distinct events of the topic')


main()
