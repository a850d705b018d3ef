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

    def test_ten_kills_repeat_less_than_a_chunk_of_each_worker(self):
        rows, chunk, workers = scaled(12000), 500, 2
        w = self.prepare(rows)
        w.settings['sources'][0].update(snapshot_chunk_rows=chunk, snapshot_connections=workers)
        w.start('sink', wait=True)
        kills = 0
        while kills < 10:
            seen = w.published()
            capture = w.start('capture', env={'LOCKSTEP_FAILPOINT': 'postgres.chunk:delay=100:*'})
            wait_for(lambda: w.published() > seen or w.published() >= rows, 60, 'some of the snapshot', every=0.02, alive=[capture])
            capture.kill()
            kills += 1
        w.start('capture')
        w.settle()
        self.assertIsNone(w.same('contacts'))
        events = w.events()
        self.assertEqual(len({e['_key'] for e in events}), rows)
        self.assertLess(len(events) - rows, kills * workers * chunk)
        self.assertEqual(w.dead(), [])

    def test_tables_change_in_the_middle_of_the_snapshot(self):
        rows = scaled(6000)
        w = self.world
        w.source.sql(f"""create table contacts (id bigint primary key, name text, n int, old text);
            insert into contacts select i, 'name ' || i, i, 'old' from generate_series(1, {rows}) i""")
        w.configure()
        w.settings['sources'][0].update(snapshot_chunk_rows=200, snapshot_connections=3)
        w.start('sink', wait=True)
        capture = w.start('capture', env={'LOCKSTEP_FAILPOINT': 'postgres.chunk:delay=150:*'})
        for change in ('add column email text', 'drop column old', 'alter column n type bigint', 'rename column name to label'):
            seen = w.published()
            wait_for(lambda: w.published() > seen, 60, 'more of the snapshot', every=0.02, alive=[capture])
            self.assertLess(w.published(), rows, 'the snapshot is over before the change')
            w.source.sql(f"set statement_timeout = '60s'; alter table contacts {change}")
        w.source.sql("update contacts set email = 'x' where id % 100 = 0; delete from contacts where id % 100 = 1")
        w.settle()
        wait_for(lambda: w.source.sql('select id, n, email from contacts order by 1') == w.destination.sql('select id, n, email from contacts order by 1'), 60,
                 'equal columns', every=0.5, alive=w.processes)
        self.assertEqual(w.destination.one("select count(*) from contacts where coalesce(label, name) is distinct from 'name ' || id"), 0)
        self.assertIn('waits for the snapshot', capture.text())
        self.assertEqual(w.dead(), [])

    def test_initial_none_takes_only_what_changes_from_now_on(self):
        w = self.prepare(scaled(1000))
        w.settings['sources'][0]['initial'] = 'none'
        w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts (id, name) values (1000000, 'new')")
        w.settle()
        self.assertEqual(w.destination.sql('select id, name from contacts'), [(1000000, 'new')])


main()
