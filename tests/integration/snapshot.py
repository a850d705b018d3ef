"""Rows that were there before the first start, while others go on writing, and a kill in the middle."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import ROOT, SEED, Scenario, main, scaled, wait_for

import threading

import psycopg


class Snapshot(Scenario):
    def prepare(self, rows):
        w = self.world
        with open(f'{ROOT}/tests/support/workload.sql') as f:
            w.source.sql(f.read())
        w.source.sql('alter table contacts replica identity full')
        w.destination.sql("""create table contacts (id bigint primary key, name text not null, email text, stage text, score numeric(12, 2), tags text[],
            detail jsonb, notes text, rev bigint, updated_at timestamptz)""")
        w.source.sql(f'call fill({rows})')
        w.configure()
        return w

    def work(self, w):
        with psycopg.connect(w.source.url, autocommit=True) as c:
            for part in range(10):
                c.execute(f'call work({scaled(10000) // 10}, {((SEED + part) % 1000) / 1000}, 50)')

    def test_rows_from_before_the_start_arrive_once(self):
        w = self.prepare(scaled(10000))
        w.start('capture', wait=True)
        w.start('sink', wait=True)
        wait_for(lambda: w.published() >= scaled(10000), 120, 'the snapshot to be published', alive=w.processes)
        w.settle()
        self.assertIsNone(w.same('contacts'))
        events = w.events()
        self.assertEqual(len(events), scaled(10000))
        self.assertEqual({e['change_type'] for e in events}, {'SNAPSHOT'})

    def test_writers_go_on_during_the_snapshot(self):
        w = self.prepare(scaled(10000))
        worker = threading.Thread(target=self.work, args=(w,))
        worker.start()
        w.start('capture', wait=True)
        w.start('sink', wait=True)
        worker.join()
        wait_for(lambda: w.destination.one('select count(*) from contacts') >= w.source.one('select count(*) from contacts') * 0.9, 120, 'most rows to arrive', alive=w.processes)
        w.settle()
        wait_for(lambda: w.same('contacts') is None, 30, 'equal tables', every=1)
        self.assertEqual(w.dead(), [])

    def test_a_kill_in_the_middle_of_the_snapshot_loses_nothing(self):
        rows = scaled(20000)
        w = self.prepare(rows)
        w.start('sink', wait=True)
        worker = threading.Thread(target=self.work, args=(w,))
        worker.start()
        for round_ in range(3):
            seen = w.published()
            capture = w.start('capture')
            wait_for(lambda: w.published() > seen, 60, 'the snapshot to begin', every=0.02, alive=[capture])
            capture.kill()
        worker.join()
        w.start('capture', wait=True)
        w.settle()
        wait_for(lambda: w.same('contacts') is None, 60, 'equal tables', every=1)
        self.assertEqual(w.dead(), [])

    def test_initial_none_takes_only_what_changes_from_now_on(self):
        w = self.prepare(scaled(1000))
        w.settings['sources'][0]['initial'] = 'none'
        w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts (id, name) values (1000000, 'new')")
        w.settle()
        self.assertEqual(w.destination.sql('select id, name from contacts'), [(1000000, 'new')])


main()
