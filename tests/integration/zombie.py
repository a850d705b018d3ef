"""A sink that stands still beyond its session and goes on when its partitions have another owner: it writes nothing.

It is stopped by a failpoint, so each time at the worst moment: with a batch in its hands, or a commit behind it and the version
state not yet published. The destination's own log says who changed which row.
"""
import os, signal, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import lockstep_test
from lockstep_test import main, wait_for
from under_fault import UnderFault, stands_still

import psycopg
from frames import FrameProxy


class Zombie(UnderFault):
    def wakes_up(self, failpoint, expected):
        w = self.open()
        w.source.sql('call fill(200)')
        zombie = self.sink('zombie', 'zombie', env={'LOCKSTEP_FAILPOINT': f'{failpoint}:stop'})
        capture = w.start('capture')
        wait_for(lambda: stands_still(zombie), 60, f'the sink to stand still at {failpoint}', alive=[zombie, capture])
        heir = self.sink('heir', 'heir')
        self.equal([capture, heir])
        self.touch()
        w.source.sql('delete from contacts where id % 10 = 0')
        self.equal([capture, heir])
        before = self.last_change()
        self.assertGreater(self.changes_by('heir'), 200, 'the heir took the partitions over')

        zombie.popen.send_signal(signal.SIGCONT)
        wait_for(lambda: any(e in zombie.text() for e in expected), 60, f'the zombie to say one of {expected}', alive=[zombie])
        self.assertEqual(self.changes_by('zombie', before), 0, f'the zombie wrote\n{zombie.tail()}')
        self.equal([capture, heir, zombie])
        self.once()

        # What it may not do as a zombie, it may as a member of the group.
        self.assertEqual(heir.stop(), 0)
        before = self.last_change()
        self.touch()
        self.equal([capture, zombie])
        self.assertEqual(self.last_change() - before, self.changes_by('zombie', before), 'all by the one that is left')
        self.assertGreater(self.changes_by('zombie', before), 0)
        self.once()

    def test_with_a_batch_in_its_hands_it_is_fenced_and_works_again_later(self):
        self.wakes_up('pg.before_apply', ['taken it over', 'another sink'])

    def test_with_a_commit_behind_it_the_state_it_publishes_late_changes_nothing(self):
        self.wakes_up('sink.applied', ['another sink', 'given back', 'another owner', 'taken it over', 'lost', 'partitions assigned'])

    def test_the_transaction_of_a_sink_that_vanished_does_not_keep_others_from_its_partitions(self):
        """The server waits for the rest of a COPY for as long as the connection lives, with the mark's row locked."""
        proxy = FrameProxy('postgres', '{host}:{port}'.format(**psycopg.conninfo.conninfo_to_dict(lockstep_test.servers().pg)))
        self.addCleanup(proxy.close)
        w = self.open(through=proxy.address)
        hung = proxy.hang_commit(matching=b'sync_offsets SET')
        w.source.sql('call fill(200)')
        gone = self.sink('gone', 'gone')
        capture = w.start('capture')
        self.assertTrue(hung.wait(60), 'a batch was on its way')
        gone.kill()
        locked = w.destination.one("select pid from pg_stat_activity where datname = current_database() and state = 'active' and wait_event = 'ClientRead'")
        self.assertIsNotNone(locked, 'its session still stands open')

        heir = self.sink('heir', 'heir')
        self.equal([capture, heir])
        self.assertEqual(self.changes_by('gone'), 0)
        self.assertIsNone(w.destination.one('select pid from pg_stat_activity where pid = %s', locked))
        self.once()


main()
