"""The local state directory is deleted: what is stale stays stale."""
import os, shutil, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import Scenario, main, wait_for


class StateLost(Scenario):
    def settled(self):
        w = self.world
        for db in (w.source, w.destination):
            db.sql('create table contacts (id bigint primary key, name text, rev bigint)')
        w.source.sql('alter table contacts replica identity full')
        w.configure()
        w.start('capture', wait=True)
        sink = w.start('sink', wait=True)
        w.source.sql("insert into contacts select i, 'name ' || i, 1 from generate_series(1, 2000) i")
        w.source.sql('update contacts set rev = 2')
        w.source.sql('delete from contacts where id > 1900')
        w.settle()
        return w, sink

    def publish(self, w, number, version, name='from the past', kind='UPDATE'):
        w.run('publish', '--entity', 'contact', '--id', str(number), '--source', 'import', '--type', kind, '--version', str(version),
              '--event-id', f'{kind}-{number}-{version}', *([] if kind == 'DELETE' else ['--data', f'{{"id": {number}, "name": "{name}", "rev": 0}}']))

    def rejected(self, w):
        for number in (1, 77, 1900, 1950):
            self.publish(w, number, 1)
        self.publish(w, 5, 2, kind='DELETE')
        w.settle()
        self.assertIsNone(w.same('contacts'))
        self.assertEqual(w.dead(), [])
        self.assertEqual(w.destination.one("select count(*) from identity.sync_processed_events where event_id like 'UPDATE-%-1' and upper(status) = 'STALE'"), 4)

    def test_a_stale_event_is_rejected_after_the_state_directory_was_deleted(self):
        w, sink = self.settled()
        self.assertEqual(sink.stop(), 0)
        shutil.rmtree(sink.state)
        w.start('sink', wait=True)
        self.rejected(w)

    def test_a_stale_event_is_rejected_after_a_kill_and_the_loss_of_the_state_directory(self):
        w, sink = self.settled()
        w.source.sql("update contacts set rev = 3 where id % 3 = 0")
        sink.kill()
        shutil.rmtree(sink.state, ignore_errors=True)
        w.start('sink', wait=True)
        self.rejected(w)

    def test_a_stale_event_is_rejected_by_another_host_that_takes_over(self):
        w, sink = self.settled()
        sink.kill()
        w.start('sink', name='sink-elsewhere', wait=True)
        self.rejected(w)

    def test_a_newer_event_still_wins_afterwards(self):
        w, sink = self.settled()
        self.assertEqual(sink.stop(), 0)
        shutil.rmtree(sink.state)
        w.start('sink', wait=True)
        w.run('publish', '--entity', 'contact', '--id', '7', '--source', 'import', '--type', 'UPDATE', '--event-id', 'newer',
              '--data', '{"id": 7, "name": "from outside", "rev": 9}')
        wait_for(lambda: w.destination.one('select name from contacts where id = 7') == 'from outside', 30, 'the newer event to win')


main()
