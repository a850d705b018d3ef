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

    def policy(self, policy, name, **destination):
        w = self.world
        w.settings['sources'][0]['schema_change'] = policy
        w.settings['destinations'][0].update(destination)
        self.run_ = w.start('run', '--skip-check', wait=True, name=name)
        return self.run_

    def two_tables(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, old_phone text); create table companies (id bigint primary key, name text)')
        w.configure(tables=('contacts', 'companies'))
        for side in ('sources', 'destinations'):
            w.settings[side][0]['tables'] = [{'table': 'public.contacts', 'entity': 'contact'}, {'table': 'public.companies', 'entity': 'company'}]
        w.settings['entities'] = [{'name': 'contact', 'key': ['id']}, {'name': 'company', 'key': ['id']}]
        w.write(w.config_file, w.settings)
        return w

    def same_soon(self, *tables, seconds=90):
        w = self.world
        for table in tables:
            wait_for(lambda: w.same(table) is None, seconds, f'equal {table}', every=0.3, alive=[self.run_])

    def test_every_kind_of_change_is_followed(self):
        w = self.two_tables()
        self.policy('follow', 'follow')
        w.source.sql("insert into contacts select i, 'name ' || i, 'phone ' || i from generate_series(1, 50) i; insert into companies values (1, 'one')")
        self.same_soon('contacts', 'companies')
        w.source.sql("""begin; update contacts set name = 'before' where id <= 20; alter table contacts add column n int; update contacts set n = id where id > 10;
            alter table contacts drop column old_phone; update contacts set name = 'after' where id <= 5; commit""")
        w.settle()
        w.destination.sql('alter table contacts alter column n type bigint')
        w.source.sql("alter table contacts alter column n type bigint; update contacts set n = 5000000000 + id where id <= 30")
        w.source.sql("alter table contacts rename column name to label; update contacts set label = 'renamed' where id <= 7")
        w.source.sql('alter table contacts replica identity full; update contacts set n = n + 1; alter table contacts replica identity default')
        w.source.sql("alter table contacts drop column n; update contacts set label = 'between' where id = 40; alter table contacts add column n int; update contacts set n = 7 where id = 7")
        w.source.sql("drop table companies; create table companies (id bigint primary key, name text, city text)")
        w.settle()
        self.assertEqual(w.source.sql("select id, n from contacts where id = 7"), w.destination.sql('select id, n from contacts where id = 7'))
        self.assertEqual(w.source.sql('select id, label from contacts where id <= 7 order by 1'), w.destination.sql('select id, label from contacts where id <= 7 order by 1'))
        self.assertEqual(w.dead(), [])

    def test_parked_changes_come_in_when_somebody_says_so(self):
        w = self.two_tables()
        run = self.policy('park', 'parked')
        w.source.sql("insert into contacts select i, 'name ' || i, 'phone ' || i from generate_series(1, 50) i; insert into companies values (1, 'one')")
        self.same_soon('contacts', 'companies')
        w.source.sql('alter table contacts add column email text; alter table contacts drop column old_phone')
        w.source.sql("update contacts set email = id || '@example.com'; delete from contacts where id > 45; insert into companies values (2, 'two')")
        wait_for(lambda: len(w.dead('crm')) >= 50, 60, '50 events kept aside', alive=[run])
        self.same_soon('companies')
        self.assertEqual(w.destination.one('select count(*) from contacts'), 50)
        letter = w.json('dlq', 'list')[0]
        self.assertEqual(letter['code'], 'schema_change')
        for part in ('public.contacts', 'email', 'old_phone'):
            self.assertIn(part, letter['reason'])
        run.kill()
        self.policy('park', 'again')
        w.source.sql("update contacts set name = 'still parked' where id = 1")
        wait_for(lambda: len(w.dead('crm')) >= 51, 60, 'one more after the restart', alive=[self.run_])
        self.assertEqual(self.run_.stop(), 0)
        self.policy('follow', 'followed')
        w.source.sql("update contacts set name = 'newest' where id = 2")
        wait_for(lambda: w.destination.one('select name from contacts where id = 2') == 'newest', 60, 'new changes to travel', alive=[self.run_])
        w.run('dlq', 'retry', '--all', '--code', 'schema_change')
        wait_for(lambda: w.destination.one("select count(*) from contacts where email is not null") == 45, 60, 'what was kept aside', alive=[self.run_])
        self.assertEqual(w.source.sql('select id, name, email from contacts order by 1'), w.destination.sql('select id, name, email from contacts order by 1'))
        self.assertEqual(w.dead(), [])

    def test_a_policy_of_failing_stops_before_the_change_and_loses_nothing(self):
        w = self.two_tables()
        run = self.policy('fail', 'failing')
        w.source.sql("insert into contacts select i, 'name ' || i, 'phone ' || i from generate_series(1, 50) i")
        self.same_soon('contacts')
        w.source.sql("alter table contacts add column email text; update contacts set email = 'x' where id <= 10; insert into companies values (2, 'two')")
        wait_for(run.ended, 60, 'capture to stop')
        self.assertNotEqual(run.popen.returncode, 0)
        for part in ('public.contacts', 'email', 'schema_change: follow'):
            self.assertIn(part, run.text())
        failed = w.start('capture', name='failed-again')
        wait_for(failed.ended, 60, 'capture to stop again')
        self.policy('follow', 'followed')
        self.same_soon('contacts', 'companies')
        self.assertEqual(w.dead(), [])

    def test_a_sink_without_the_column_says_which_and_goes_on_when_it_is_there(self):
        w = self.two_tables()
        run = self.policy('follow', 'waiting', on_missing_column='fail')
        w.source.sql("insert into contacts select i, 'name ' || i, 'phone ' || i from generate_series(1, 50) i")
        self.same_soon('contacts')
        w.source.sql("alter table contacts add column email text; update contacts set email = 'x' || id")
        wait_for(lambda: 'email' in run.text() and 'public.contacts' in run.text(), 60, 'the sink to name the column', alive=[run])
        held = lambda: w.json('status', config=run.config)['destinations'][0]['partitions_held']
        wait_for(held, 60, 'a partition that is held to be counted', alive=[run])
        w.source.sql("insert into companies select i, 'company ' || i from generate_series(1, 50) i")
        self.same_soon('companies')
        w.destination.sql('alter table contacts add column email text')
        self.same_soon('contacts')
        wait_for(lambda: held() == 0, 60, 'no partition to be held', alive=[run])
        self.assertEqual(w.dead(), [])

    def test_two_writers_of_one_topic_may_have_different_columns(self):
        w = self.running()
        w.settle()
        w.run('publish', '--entity', 'contact', '--id', '1', '--source', 'other', '--type', 'UPDATE', '--event-id', 'partial', '--data', '{"id": 1, "name": "only the name"}')
        wait_for(lambda: w.destination.one('select name from contacts where id = 1') == 'only the name', 30, 'the partial event', alive=[self.run_])
        self.assertEqual(w.destination.one('select old_phone from contacts where id = 1'), 'phone 1')


main()
