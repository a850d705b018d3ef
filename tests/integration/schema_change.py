"""Tables change in the middle of the stream."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class SchemaChange(Scenario):
    def running(self, **destination):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, old_phone text)')
        w.configure()
        w.settings['destinations'][0].update(destination)
        self.run_ = w.start('run', '--skip-check', wait=True)
        w.source.sql("insert into contacts select i, 'name ' || i, 'phone ' || i from generate_series(1, 300) i")
        return w

    def test_a_column_added_at_both_ends_travels_from_then_on(self):
        w = self.running()
        w.destination.sql("alter table contacts add column email text default 'none'")
        w.source.sql("alter table contacts add column email text default 'none'")
        w.source.sql("insert into contacts select i, 'name ' || i, null, i || '@example.com' from generate_series(301, 600) i")
        w.source.sql("update contacts set email = 'changed' where id % 5 = 0")
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])

    def test_a_column_dropped_in_the_source_is_left_alone_in_the_destination(self):
        w = self.running()
        w.settle()
        w.source.sql('alter table contacts drop column old_phone')
        w.source.sql("update contacts set name = 'renamed ' || id where id <= 100")
        w.source.sql("insert into contacts select i, 'name ' || i from generate_series(301, 400) i")
        w.settle()
        self.assertEqual(w.source.sql('select id, name from contacts order by id'), w.destination.sql('select id, name from contacts order by id'))
        self.assertEqual(w.destination.one("select count(*) from contacts where id <= 300 and old_phone = 'phone ' || id"), 300)
        self.assertEqual(w.dead(), [])

    def test_a_column_the_destination_lacks_does_not_stop_the_others(self):
        w = self.running()
        w.source.sql('alter table contacts add column secret text')
        w.source.sql("update contacts set secret = 'x', name = 'changed' where id <= 50")
        w.source.sql("insert into contacts (id, name) select i, 'name ' || i from generate_series(301, 400) i")
        w.settle()
        self.assertEqual(w.source.sql('select id, name from contacts order by id'), w.destination.sql('select id, name from contacts order by id'))

    def test_a_wider_type_travels(self):
        w = self.running()
        for db in (w.destination, w.source):
            db.sql('alter table contacts add column n int')
        w.source.sql('update contacts set n = id where id <= 100')
        w.settle()
        for db in (w.destination, w.source):
            db.sql('alter table contacts alter column n type bigint')
        w.source.sql('update contacts set n = id * 1000000000000')
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])

    def test_a_type_that_old_events_cannot_be_read_as_stops_capture_with_the_reason(self):
        w = self.running()
        w.settle()
        w.source.sql('alter table contacts alter column old_phone type bigint using null')
        w.source.sql('update contacts set old_phone = 7')
        wait_for(lambda: 'old_phone' in self.run_.text() and self.run_.ended(), 30, 'capture to stop and name the column')
        self.assertNotEqual(self.run_.popen.returncode, 0)
        self.assertIn('INCOMPATIBLE', self.run_.text())
        self.assertEqual(w.dead(), [])

    def test_a_changed_type_goes_on_without_the_check_and_ends_equal(self):
        w = self.running(on_missing_column='fail')
        w.settle()
        w.source.sql('alter table contacts add column code int, add column due timestamp, add column price numeric(10,2)')
        w.destination.sql('alter table contacts add column code int, add column due timestamp, add column price numeric(10,2)')
        w.source.sql("update contacts set code = id, due = '2026-11-21 09:14:03', price = 12.34")
        w.settle()
        w.source.sql("set timezone to 'Europe/Berlin'")
        for change in ('code type text using \'c\' || code', 'due type timestamptz', 'price type numeric(12,4)'):
            w.source.sql(f'alter table contacts alter column {change}')
        w.source.sql("update contacts set name = 'changed ' || id, code = 'x' || id, price = price + 0.0001 where id > 100")
        w.source.sql("insert into contacts (id, name, code) select i, 'new ' || i, 'not a number' from generate_series(301, 350) i")
        wait_for(self.run_.ended, 30, 'capture to stop')
        self.assertIn('schema_compatibility: none', self.run_.text())

        w.destination.sql("set timezone to 'Europe/Berlin'")
        for change in ("code type text using 'c' || code", 'due type timestamptz', 'price type numeric(12,4)'):
            w.destination.sql(f'alter table contacts alter column {change}')
        w.configure(schema_compatibility='none')
        self.run_ = w.start('run', '--skip-check', wait=True, name='none')
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])
        self.assertEqual(self.run_.stop(), 0)

        w.configure()
        self.run_ = w.start('run', '--skip-check', wait=True, name='full')
        w.source.sql("update contacts set code = 'full again', due = now()")
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])

    def test_two_writers_of_one_topic_may_have_different_columns(self):
        w = self.running()
        w.settle()
        w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'other', '--type', 'UPDATE', '--event-id', 'partial', '--data', '{"id": 1, "name": "only the name"}')
        wait_for(lambda: w.destination.one('select name from contacts where id = 1') == 'only the name', 30, 'the partial event', alive=[self.run_])
        self.assertEqual(w.destination.one('select old_phone from contacts where id = 1'), 'phone 1')


main()
