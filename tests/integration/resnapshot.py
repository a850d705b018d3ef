"""`lockstep snapshot`: what capture missed is read again, and nothing is missing silently afterwards."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class Resnapshot(Scenario):
    def prepare(self, **source):
        w = self.world
        for db in (w.source, w.destination):
            # Estimates are compared: nothing but this test may analyze.
            for table in ('contacts', 'companies'):
                db.sql(f'create table {table} (id bigint primary key, name text) with (autovacuum_enabled = false)')
        w.configure(tables=('contacts', 'companies'))
        for entry in w.settings['sources'][0]['tables'] + w.settings['destinations'][0]['tables']:
            entry['entity'] = {'public.contacts': 'contact', 'public.companies': 'company'}[entry['table']]
        w.settings['entities'] = [{'name': 'contact', 'key': ['id']}, {'name': 'company', 'key': ['id']}]
        w.settings['sources'][0].update(source, wal_status_interval='200ms')
        w.write(w.config_file, w.settings)
        w.source.sql("insert into contacts select i, 'name ' || i from generate_series(1, 500) i; insert into companies select i, 'firm ' || i from generate_series(1, 300) i; analyze")
        w.start('sink', wait=True)
        capture = w.start('capture', wait=True)
        w.source.sql("update contacts set name = name || '!' where id % 5 = 0")
        self.settle(w)
        return w, capture

    def settle(self, w):
        w.settle()
        w.settle('company')

    def slot(self, w):
        return w.source.one('select slot_name from pg_replication_slots where database = current_database()')

    def free(self, w):
        wait_for(lambda: not w.source.one('select bool_or(active) from pg_replication_slots where database = current_database()'), 20, 'the slot to be free')

    def equal(self, w):
        for table in ('contacts', 'companies'):
            wait_for(lambda t=table: w.same(t) is None, 60, f'{table} to be equal', every=0.5, alive=[p for p in w.processes if not p.ended()])

    def moved_by_hand(self, w):
        """Changes that the slot is moved past: no capture will ever see them."""
        self.free(w)
        w.source.sql("update contacts set name = 'missed' where id in (7, 8); insert into companies values (301, 'missed')")
        w.source.sql('select pg_replication_slot_advance(%s, pg_current_wal_lsn())', self.slot(w))

    def test_a_slot_moved_by_hand_stops_capture_and_snapshot_mends_it(self):
        w, capture = self.prepare()
        self.assertEqual(capture.stop(), 0)
        self.moved_by_hand(w)

        stopped = w.start('capture', name='capture-refused')
        wait_for(stopped.ended, 30, 'capture to stop')
        self.assertEqual(stopped.popen.returncode, 1)
        self.assertIn('is ahead of what was published', stopped.text())
        self.assertIn('lockstep snapshot crm', stopped.text())

        alone = w.run('snapshot', 'crm', '--table', 'contacts', ok=False)
        self.assertEqual(alone.returncode, 1)
        self.assertIn('without --table', alone.stderr)
        dry = w.json('snapshot', 'crm', '--dry-run')
        self.assertEqual({t['table']: t['estimated_rows'] for t in dry['tables']}, {'public.contacts': 500, 'public.companies': 300})
        self.assertIn('is ahead of what was published', dry['lost'])
        again = w.start('capture', name='capture-after-dry-run')
        wait_for(again.ended, 30, 'capture to stop: nothing was changed yet')

        done = w.run('snapshot', 'crm')
        self.assertIn('public.companies', done.stdout)
        self.assertIn('lockstep capture crm', done.stderr)
        before = w.published('company')
        w.start('capture', name='capture-mended', wait=True)
        self.settle(w)
        self.equal(w)
        self.assertEqual(w.published('company'), before + 301)
        self.assertEqual(w.dead(), [])
        # versions only ever grow: what changes now is newer than what was read again
        w.source.sql("update contacts set name = 'after' where id = 7")
        self.settle(w)
        self.equal(w)

    def test_a_slot_that_is_gone_is_made_again_and_everything_read(self):
        w, capture = self.prepare()
        self.assertEqual(capture.stop(), 0)
        self.free(w)
        w.source.sql('select pg_drop_replication_slot(%s)', self.slot(w))
        w.source.sql("update contacts set name = 'missed' where id < 20")
        refused = w.start('capture', name='capture-refused')
        wait_for(refused.ended, 30, 'capture to stop')
        self.assertIn('is gone', refused.text())
        w.run('snapshot', 'crm')
        w.start('capture', name='capture-mended', wait=True)
        self.settle(w)
        self.equal(w)
        events = [e for e in w.events() if e['entity_id'] == '7']
        versions = [e['version'] for e in sorted(events, key=lambda e: e['_offset'])]
        self.assertEqual(versions, sorted(set(versions)))

    def test_one_table_is_read_again_and_the_others_are_not(self):
        w, capture = self.prepare(initial='snapshot')
        self.assertEqual(capture.stop(), 0)
        w.source.sql("update contacts set name = 'meanwhile' where id = 3")
        w.destination.sql("delete from contacts where id = 9; update contacts set name = 'damaged' where id = 10")
        contacts, companies = w.published(), w.published('company')
        self.free(w)
        plan = w.json('snapshot', 'crm', '--table', 'contacts')
        self.assertEqual(plan['tables'], [{'table': 'public.contacts', 'estimated_rows': 500}])
        self.assertEqual(plan['lost'], '')
        w.start('capture', name='capture-again', wait=True)
        self.settle(w)
        self.equal(w)
        self.assertEqual(w.published('company'), companies)
        self.assertEqual(w.published(), contacts + 501)

    def test_a_source_without_first_snapshot_is_read_when_asked(self):
        w, capture = self.prepare(initial='none')
        self.assertEqual(w.destination.one('select count(*) from companies'), 0)
        self.assertEqual(capture.stop(), 0)
        self.free(w)
        w.run('snapshot', 'crm')
        w.start('capture', name='capture-again', wait=True)
        self.settle(w)
        self.equal(w)

    def test_what_cannot_be_done_is_said(self):
        w, capture = self.prepare()
        running = w.run('snapshot', 'crm', ok=False)
        self.assertEqual(running.returncode, 6)
        self.assertRegex(running.stderr, r'is active for PID \d+: a capture of this source is running. Stop it first')
        self.assertEqual(capture.stop(), 0)
        self.free(w)
        unknown = w.run('snapshot', 'crn', ok=False)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn('did you mean \\"crm\\"?', unknown.stderr)
        table = w.run('snapshot', 'crm', '--table', 'contact', ok=False)
        self.assertEqual(table.returncode, 1)
        self.assertIn('did you mean \\"public.contacts\\"?', table.stderr)
        self.assertEqual(w.run('snapshot', ok=False).returncode, 2)
        self.assertEqual(w.run('snapshot', 'crm', '--tabel', 'x', ok=False).returncode, 2)


main()
