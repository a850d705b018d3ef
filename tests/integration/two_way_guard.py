"""A local edit that is newer than an arriving event, and not captured yet: without a guard the row shows the older values until the
edit's own event is back, with a guard it never does. What the rows showed is read from the databases' own logs."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main
from two_way import TwoWayScenario, write_at_once

MINUTES = 60
NOW = '(extract(epoch from clock_timestamp()) * 1000000)::bigint'


class Guard(TwoWayScenario):
    def begin(self, keys, **more):
        """Everything in step, the rows known everywhere, then nothing runs: edits are neither captured nor applied."""
        bench = self.bench(partitions=1, **more)
        bench.start()
        bench.databases['a'].sql(f"insert into contacts select i, 'base', null, 0, {NOW} from generate_series(1, %s) i", keys)
        bench.settle()
        self.assertEqual(bench.capture.stop(), 0)
        self.assertEqual(bench.sink.stop(), 0)
        return bench

    @staticmethod
    def edit(bench, name, tag, key=1):
        bench.databases[name].sql(f'update contacts set tag = %s, changed = {NOW} where id = %s', tag, key)

    def publish(self, bench, *names):
        """What these databases committed goes into the topic; nothing is applied."""
        bench.start_capture(*names)
        bench.captured(*names)
        self.assertEqual(bench.capture.stop(), 0)

    def apply(self, bench, *names):
        """These databases apply what is in the topic; nothing is captured."""
        bench.start_sink(*names)
        bench.applied(*names)
        self.assertEqual(bench.sink.stop(), 0)

    @staticmethod
    def shown(bench, name, key=1):
        """The tags that a row had, one after another."""
        bench.journals[name].drain()
        return [c.new and c.new['tag'] for c in bench.journals[name].changes if c.key == str(key)]

    def finish(self, bench, least_conflicts):
        bench.start_capture()
        bench.start_sink()
        self.right(bench.judge(guard=True), least_conflicts)

    def test_an_older_event_shows_for_a_moment_over_a_newer_edit_without_a_guard_and_never_with_one(self):
        """Each database but a has one row that a edited before it, and one of its own whose first edits return."""
        bench = self.begin(6, names=('a', 'b', 'c', 'd'), guard={'c': 'commit_timestamp', 'd': 'column:changed'})
        foreign, own = {'b': 1, 'c': 2, 'd': 3}, {'b': 4, 'c': 5, 'd': 6}
        for name in 'bcd':
            self.edit(bench, 'a', 'older', foreign[name])
            self.edit(bench, name, 'one', own[name])
            self.edit(bench, name, 'two', own[name])
        self.publish(bench, *'abcd')
        for name in 'bcd':
            self.edit(bench, name, 'newer', foreign[name])
            self.edit(bench, name, 'three', own[name])
        self.apply(bench, *'bcd')
        self.finish(bench, least_conflicts=3 * 4)
        with self.subTest('no guard'):
            self.assertEqual(self.shown(bench, 'b', 1), ['base', 'newer', 'older', 'newer'])
            self.assertEqual(self.shown(bench, 'b', 4), ['base', 'one', 'two', 'three', 'two', 'three'])
        for name in 'cd':
            with self.subTest(f'guard of {name}'):
                self.assertEqual(self.shown(bench, name, foreign[name]), ['base', 'newer'])
                self.assertEqual(self.shown(bench, name, own[name]), ['base', 'one', 'two', 'three'])

    def test_a_newer_event_goes_over_a_guarded_older_edit_and_over_what_a_sink_wrote_later(self):
        bench = self.begin(1, names=('a', 'b', 'c'), guard='commit_timestamp')
        self.edit(bench, 'c', 'first')
        self.edit(bench, 'b', 'second')
        self.edit(bench, 'a', 'third')
        self.publish(bench, 'c')
        self.apply(bench, 'a', 'b')  # held back: the edits of a and b are newer
        self.publish(bench, 'b')
        self.apply(bench, 'c')       # written by a sink after `third` was committed
        self.publish(bench, 'a')
        self.apply(bench, 'b', 'c')
        bench.start_capture()
        bench.start_sink()
        bench.settle()
        self.assertEqual([self.shown(bench, name) for name in 'abc'], [['base', 'third'], ['base', 'second', 'third'], ['base', 'first', 'second', 'third']])
        write_at_once(bench, most=80, keys=8)
        self.right(bench.judge(guard=True), least_conflicts=3)

    def test_with_clocks_apart_the_guard_compares_the_version_that_the_edit_will_get(self):
        """Sides a and c are ten minutes ahead, b is of today. Row 1: b wrote after it had seen an edit of a that is later than the one of c
        that arrives, so b wins, and the row has to say so all the time. Row 2: b wrote before it had seen that, so c wins."""
        fast = self.server(ahead=10 * MINUTES)
        bench = self.begin(3, names=('a', 'b', 'c'), servers={'a': fast, 'c': fast}, guard='commit_timestamp', max_skew='20m')
        self.edit(bench, 'b', 'of today', 2)
        self.edit(bench, 'c', 'fast', 1)
        self.edit(bench, 'c', 'fast', 2)
        self.edit(bench, 'a', 'faster', 3)
        self.publish(bench, 'a')
        bench.start_sink('b')
        bench.applied('b')
        self.edit(bench, 'b', 'of today', 1)
        self.publish(bench, 'c')
        bench.applied('b')
        self.assertEqual(bench.sink.stop(), 0)
        self.finish(bench, least_conflicts=6)
        self.assertEqual(self.shown(bench, 'b', 1), ['base', 'of today'])
        self.assertEqual(self.shown(bench, 'b', 2), ['base', 'of today', 'fast'])


main()
