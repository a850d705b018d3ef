"""Several sinks share the partitions; they join and leave while work goes on."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SEED, Scenario, main, scaled, wait_for

import threading

import psycopg


class Groups(Scenario):
    def prepare(self):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.audit('contacts')
        w.configure()
        w.start('capture', wait=True)
        return w

    def owners(self, w):
        """{owner: partitions} by the destination's own table."""
        return dict(w.destination.sql('select owner, count(*) from identity.sync_offsets where topic = %s group by 1', w.topic()))

    def work(self, w, parts=10):
        with psycopg.connect(w.source.url, autocommit=True) as c:
            c.execute(f'call fill({scaled(4000)})')
            for part in range(parts):
                c.execute(f'call work({scaled(20000) // parts}, {((SEED + part) % 1000) / 1000}, 50)')

    def test_three_sinks_share_join_and_leave(self):
        w = self.prepare()
        worker = threading.Thread(target=self.work, args=(w,))
        first = w.start('sink', name='sink-1', wait=True)
        worker.start()
        second, third = w.start('sink', name='sink-2', wait=True), w.start('sink', name='sink-3', wait=True)
        wait_for(lambda: len(self.owners(w)) == 3, 60, 'three owners of partitions', alive=[first, second, third])
        self.assertEqual(sorted(self.owners(w).values()), [2, 2, 2])
        self.assertEqual(first.stop(), 0)
        wait_for(lambda: sorted(self.owners(w).values()) == [3, 3], 60, 'the two that stay to take over', alive=[second, third])
        fourth = w.start('sink', name='sink-4', wait=True)
        third.kill()
        worker.join()
        w.settle(alive=[second, fourth])
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])
        back = w.destination.sql("""select key, n, rev, before from (select key, n, (new ->> 'rev')::bigint as rev,
            max((new ->> 'rev')::bigint) over (partition by key order by n rows between unbounded preceding and 1 preceding) as before
            from audit where op <> 'DELETE') t where rev <= before limit 5""")
        self.assertEqual(back, [], 'a row went back')

    def test_a_static_member_comes_back_to_its_partitions(self):
        w = self.prepare()
        first = w.start('sink', name='sink-1', wait=True, instance='one')
        w.start('sink', name='sink-2', wait=True, instance='two')
        w.source.sql('call fill(500)')
        wait_for(lambda: sorted(self.owners(w).values()) == [3, 3], 60, 'both to own three')
        before = w.destination.sql("select partition, split_part(owner, '-', 1) from identity.sync_offsets where topic = %s order by 1", w.topic())
        self.assertEqual(first.stop(), 0)
        w.start('sink', name='sink-1', wait=True, instance='one')
        w.source.sql('call fill(500)')
        w.settle()
        after = w.destination.sql("select partition, split_part(owner, '-', 1) from identity.sync_offsets where topic = %s order by 1", w.topic())
        self.assertEqual(before, after)
        self.assertIsNone(w.same('contacts'))


main()
