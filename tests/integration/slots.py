"""What somebody does by hand to the slot, the publication or a table: said, with what to do, and never passed over."""
import json, os, re, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for

LSN = r'[0-9A-F]+/[0-9A-F]+'


def number(lsn):
    high, low = lsn.split('/')
    return int(high, 16) << 32 | int(low, 16)


class Slots(Scenario):
    def prepare(self, **source):
        """Both tables captured and equal; capture still runs."""
        w = self.world
        for db in (w.source, w.destination):
            for table in ('contacts', 'orders'):
                db.sql(f'create table {table} (id bigint primary key, name text)')
        w.configure(tables=('contacts', 'orders'))
        w.settings['sources'][0].update({'wal_status_interval': '200ms', 'heartbeat_interval': '500ms', **source})
        w.write(w.config_file, w.settings)
        w.source.sql("insert into contacts select i, 'name ' || i from generate_series(1, 50) i; insert into orders select i, 'order ' || i from generate_series(1, 30) i")
        w.start('sink', wait=True)
        self.capture = w.start('capture', wait=True)
        w.source.sql("update contacts set name = name || '!' where id % 5 = 0")
        self.settle()
        self.slot = w.source.one('select slot_name from pg_replication_slots where database = current_database()')
        self.publication = w.source.one('select pubname from pg_publication')
        return w

    def settle(self):
        self.world.settle()
        self.world.settle('order')

    def stop(self):
        """Capture is ended; returns the place in the log up to which it has published."""
        self.assertEqual(self.capture.stop(), 0)
        w = self.world
        wait_for(lambda: not w.source.one('select active from pg_replication_slots where slot_name = %s', self.slot), 60, 'the slot to be free')
        records = [json.loads(m.value()) for m in w.read(f'{w.prefix}.positions') if m.key() == b'crm' and m.value()]
        return json.loads(records[-1]['position'])['lsn']

    def refused(self, *words):
        """Every start ends with exit code 1 and says all the words; returns what it said."""
        for n in (1, 2):
            process = self.world.start('capture', name=f'capture-refused-{len(self.world.processes)}')
            wait_for(process.ended, 60, f'start {n} of capture to end')
            self.says(process, *words)
        return process.text()

    def says(self, process, *words):
        self.assertEqual(process.popen.returncode, 1, process.tail())
        for word in words:
            self.assertIn(word, process.text())

    def mended(self, *args):
        """After `lockstep snapshot` everything is there, and what changes from then on follows."""
        w = self.world
        w.run('snapshot', 'crm', *args)
        self.capture = w.start('capture', name='capture-mended', wait=True)
        w.source.sql("update contacts set name = 'after' where id = 7; update orders set name = 'after' where id = 7")
        for table in ('contacts', 'orders'):
            wait_for(lambda t=table: w.same(t) is None, 120, f'{table} to be equal', every=0.5, alive=[self.capture])
        self.assertEqual(w.dead(), [])

    # ---- the slot ----

    def test_a_slot_dropped_and_made_anew_by_hand_is_refused_with_both_positions(self):
        w = self.prepare()
        before = self.stop()
        w.source.sql('select pg_drop_replication_slot(%s)', self.slot)
        w.source.sql("update contacts set name = 'between' where id = 7; insert into orders values (31, 'between')")
        made = w.source.one("select lsn::text from pg_create_logical_replication_slot(%s, 'pgoutput')", self.slot)
        w.source.sql("update contacts set name = 'behind' where id = 8")

        text = self.refused('is ahead of what was published', 'lockstep snapshot crm')
        ours, theirs = re.search(f'changes between ({LSN}) and ({LSN}) are lost', text).groups()
        self.assertEqual(number(ours), number(before))
        self.assertEqual(number(theirs), number(made))
        self.mended()

    def test_a_slot_advanced_by_hand_is_refused_with_both_positions(self):
        w = self.prepare()
        before = self.stop()
        w.source.sql("update contacts set name = 'between' where id = 7; insert into orders values (31, 'between')")
        moved = w.source.one('select end_lsn::text from pg_replication_slot_advance(%s, pg_current_wal_lsn())', self.slot)

        text = self.refused('is ahead of what was published', 'lockstep snapshot crm')
        ours, theirs = re.search(f'changes between ({LSN}) and ({LSN}) are lost', text).groups()
        self.assertEqual((number(ours), number(theirs)), (number(before), number(moved)))
        self.mended()

    # ---- the publication ----

    def test_a_publication_dropped_and_made_anew_while_nobody_looked_is_refused(self):
        w = self.prepare()
        self.stop()
        w.source.sql(f'drop publication {self.publication}')
        w.source.sql("update contacts set name = 'between' where id = 7")
        w.source.sql(f'create publication {self.publication} for table only contacts, only orders with (publish_via_partition_root = true)')
        w.source.sql("update contacts set name = 'behind' where id = 8")
        self.refused(self.publication, 'was dropped and made anew', 'lockstep snapshot crm')
        self.mended()

    def test_a_publication_dropped_while_capture_runs_stops_it(self):
        w = self.prepare()
        w.source.sql(f'drop publication {self.publication}')
        w.source.sql("update contacts set name = 'unseen' where id = 7")
        wait_for(self.capture.ended, 90, 'capture to stop')
        self.says(self.capture, 'publication')
        self.refused(self.publication, 'was dropped and made anew', 'lockstep snapshot crm')
        self.mended()

    def test_a_table_taken_out_of_the_publication_for_a_while_is_refused_and_read_again_alone(self):
        w = self.prepare()
        self.stop()
        w.source.sql(f'alter publication {self.publication} drop table orders')
        w.source.sql("update orders set name = 'unseen' where id = 8")
        w.source.sql(f'alter publication {self.publication} add table only orders')
        self.refused('public.orders', 'lockstep snapshot crm --table public.orders')
        self.mended('--table', 'public.orders')

    # ---- the table ----

    def recreate(self):
        """Another table of the same name, with other rows; the key and what it looks like are as before."""
        self.world.source.sql("""begin; drop table orders; create table orders (id bigint primary key, name text);
            insert into orders select i, 'new order ' || i from generate_series(1, 40) i; commit""")

    def test_a_table_dropped_and_made_anew_while_capture_runs_stops_it(self):
        self.prepare()
        self.recreate()
        wait_for(self.capture.ended, 90, 'capture to stop')
        self.says(self.capture, 'public.orders', 'lockstep snapshot crm --table public.orders')
        self.refused('public.orders', 'lockstep snapshot crm --table public.orders')
        self.mended('--table', 'public.orders')

    def test_a_table_swapped_for_another_while_nobody_looked_is_refused(self):
        w = self.prepare()
        self.stop()
        w.source.sql("""begin; create table fresh (like orders including all); insert into fresh select * from orders;
            alter table orders rename to orders_old; alter table fresh rename to orders;
            update orders set name = 'unseen' where id = 8; commit""")
        self.refused('public.orders', 'lockstep snapshot crm --table public.orders')
        self.mended()

    def test_a_table_left_out_of_the_configuration_for_a_while_is_read_again(self):
        w = self.prepare()
        self.stop()
        without = [t for t in w.settings['sources'][0]['tables'] if t['table'] != 'public.orders']
        with_it, w.settings['sources'][0]['tables'] = w.settings['sources'][0]['tables'], without
        self.capture = w.start('capture', name='capture-without', wait=True)
        w.source.sql("update orders set name = 'unseen' where id = 8; update contacts set name = 'seen' where id = 8")
        self.stop()
        w.settings['sources'][0]['tables'] = with_it
        self.capture = w.start('capture', name='capture-with', wait=True)
        for table in ('contacts', 'orders'):
            wait_for(lambda t=table: w.same(t) is None, 120, f'{table} to be equal', every=0.5, alive=[self.capture])


main()
