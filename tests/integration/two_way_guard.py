"""A local edit that is newer than an arriving event, and not captured yet: without a guard the row shows the older values until the
edit's own event is back, with a guard it never does. What the rows showed is read from the databases' own logs."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main
from two_way import TwoWayScenario, write_at_once

MINUTES = 60
NOW = '(extract(epoch from clock_timestamp()) * 1000000)::bigint'


class Guard(TwoWayScenario):
    def begin(self, **more):
        """Everything in step, row 1 known everywhere, then nothing runs: edits are neither captured nor applied."""
        bench = self.bench(partitions=1, **more)
        bench.start()
        first = bench.databases[bench.names[0]]
        first.sql(f"insert into contacts values (1, 'base', null, 0, {NOW}), (2, 'other', null, 0, {NOW})")
        bench.settle()
        self.rest(bench)
        return bench

    def rest(self, bench):
        self.assertEqual(bench.capture.stop(), 0)
        self.assertEqual(bench.sink.stop(), 0)

    @staticmethod
    def edit(bench, name, tag, key=1):
        bench.databases[name].sql(f'update contacts set tag = %s, changed = {NOW} where id = %s', tag, key)

    def publish(self, bench, *names):
        """What these databases committed goes into the topic; nothing is applied."""
        for name in names:
            bench.start_capture(name)
            bench.captured(name)
            self.assertEqual(bench.capture.stop(), 0)

    def apply(self, bench, *names):
        """These databases apply what is in the topic; nothing is captured."""
        bench.start_sink(*names)
        bench.applied(*names)
        self.assertEqual(bench.sink.stop(), 0)

    def shown(self, bench, name, key='1'):
        """The tags that a row had, one after another."""
        bench.journals[name].drain()
        return [c.new and c.new['tag'] for c in bench.journals[name].changes if c.key == key]

    def finish(self, bench):
        bench.start_capture()
        bench.start_sink()
        return bench.judge(guard=True)

    def older_event_meets_newer_edit(self, guard):
        bench = self.begin(guard=guard)
        self.edit(bench, 'a', 'older')
        self.publish(bench, 'a')
        self.edit(bench, 'b', 'newer')
        self.apply(bench, 'b')
        self.right(self.finish(bench), least_conflicts=2)
        self.assertEqual(bench.rows('a')['1']['tag'], 'newer')
        self.assertEqual(bench.rows('b')['1']['tag'], 'newer')
        return self.shown(bench, 'b')

    def test_without_a_guard_the_row_shows_the_older_value_for_a_moment(self):
        self.assertEqual(self.older_event_meets_newer_edit(None), ['base', 'newer', 'older', 'newer'])

    def test_guarded_by_commit_timestamp_the_row_never_shows_the_older_value(self):
        self.assertEqual(self.older_event_meets_newer_edit('commit_timestamp'), ['base', 'newer'])

    def test_guarded_by_a_column_the_row_never_shows_the_older_value(self):
        self.assertEqual(self.older_event_meets_newer_edit('column:changed'), ['base', 'newer'])

    def test_a_newer_event_goes_over_a_guarded_older_edit_and_over_what_a_sink_wrote_later(self):
        bench = self.begin(names=('a', 'b', 'c'), guard='commit_timestamp')
        self.edit(bench, 'c', 'first')
        self.edit(bench, 'b', 'second')
        self.edit(bench, 'a', 'third')
        self.publish(bench, 'c')
        self.apply(bench, 'a')      # held back: the edit of a is newer
        self.apply(bench, 'b')      # so is that of b
        self.publish(bench, 'b')
        self.apply(bench, 'c')      # written by a sink after `third` was committed
        self.publish(bench, 'a')
        self.apply(bench, 'b', 'c')
        self.right(self.finish(bench), least_conflicts=3)
        self.assertEqual([self.shown(bench, name) for name in 'abc'], [['base', 'third'], ['base', 'second', 'third'], ['base', 'first', 'second', 'third']])

    def test_own_events_that_return_do_not_undo_the_edits_after_them(self):
        bench = self.begin(guard='commit_timestamp')
        self.edit(bench, 'b', 'one')
        self.edit(bench, 'b', 'two')
        self.publish(bench, 'b')
        self.edit(bench, 'b', 'three')
        self.apply(bench, 'b')
        self.right(self.finish(bench))
        self.assertEqual(self.shown(bench, 'b'), ['base', 'one', 'two', 'three'])

    def test_with_clocks_apart_the_guard_compares_the_version_that_the_edit_will_get(self):
        """Sides a and c are ten minutes ahead, b is of today and knows an edit of a that is later than the arriving one of c: whatever b
        writes now wins over it, and the row has to say so at once."""
        fast = self.server(10 * MINUTES)
        bench = self.begin(names=('a', 'b', 'c'), servers={'a': fast, 'c': fast}, guard='commit_timestamp', max_skew='20m')
        self.edit(bench, 'c', 'fast')
        self.edit(bench, 'a', 'other, faster', key=2)
        self.publish(bench, 'a')
        self.apply(bench, 'b')
        self.edit(bench, 'b', 'of today')
        self.publish(bench, 'c')
        self.apply(bench, 'b')
        self.right(self.finish(bench), least_conflicts=3)
        self.assertEqual(self.shown(bench, 'b'), ['base', 'of today'])

    def test_with_clocks_apart_the_guard_keeps_no_edit_that_will_lose(self):
        """As before, but b learns of the later edit of a only after its own: the version of that edit is lower than the arriving one's."""
        fast = self.server(10 * MINUTES)
        bench = self.begin(names=('a', 'b', 'c'), servers={'a': fast, 'c': fast}, guard='commit_timestamp', max_skew='20m')
        self.edit(bench, 'b', 'of today')
        self.edit(bench, 'c', 'fast')
        self.edit(bench, 'a', 'other, faster', key=2)
        self.publish(bench, 'a')
        self.apply(bench, 'b')
        self.publish(bench, 'c')
        self.apply(bench, 'b')
        self.right(self.finish(bench), least_conflicts=3)
        self.assertEqual(bench.rows('b')['1']['tag'], 'fast')
        self.assertEqual(self.shown(bench, 'b'), ['base', 'of today', 'fast'])

    def test_databases_written_at_once_under_a_guard_end_equal(self):
        bench = self.bench(names=('a', 'b', 'c'), guard='commit_timestamp').start()
        write_at_once(bench, most=120, keys=8)
        self.right(bench.judge(guard=True), least_conflicts=3)


main()
