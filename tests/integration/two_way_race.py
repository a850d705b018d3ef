"""Two and three databases in step, edited all at the same time: they end equal, to the winner that the topic says, and the conflicts
reported are those that the writers' own history holds. The judge is tests/support/two_way_oracle.py."""
import os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main, wait_for
from two_way import TwoWayScenario, write_at_once


class Race(TwoWayScenario):
    def test_two_databases_written_at_once_end_equal_with_exactly_the_true_conflicts(self):
        bench = self.bench().start()
        write_at_once(bench, most=150, keys=8)
        self.right(bench.judge(), least_conflicts=2)

    def test_three_databases_written_at_once_end_equal_though_processes_are_killed(self):
        bench = self.bench(names=('a', 'b', 'c')).start()

        def harm():
            for _ in range(2):
                bench.sink.kill()
                bench.start_sink()
                bench.capture.kill()
                bench.start_capture()

        write_at_once(bench, most=200, keys=10, pause=0.02, meanwhile=harm)
        self.right(bench.judge(), least_conflicts=2)

    def test_a_sink_killed_between_its_commit_and_its_report_reports_the_conflict_all_the_same(self):
        bench = self.bench(partitions=1).start()
        bench.databases['a'].sql("insert into contacts values (1, 'base', null, 0, 0), (2, 'base', null, 0, 0)")
        bench.settle()
        self.assertEqual(bench.sink.stop(), 0)
        for name in 'ab':
            bench.databases[name].sql('update contacts set tag = %s', f'by {name}')
        bench.captured()
        killed = bench.world.start('sink', name='sink-killed', env={'LOCKSTEP_FAILPOINT': 'sink.applied:kill'})
        wait_for(killed.ended, 90, 'the sink to commit and die')
        bench.start_sink()
        self.right(bench.judge(), least_conflicts=4)

    def test_partitions_that_move_between_the_commit_and_the_report_lose_no_state(self):
        bench = self.bench(names=('a', 'b', 'c'), partitions=1).start()
        bench.databases['a'].sql("insert into contacts values (1, 'base', null, 0, 0)")
        bench.settle()
        self.assertEqual(bench.capture.stop(), 0)
        self.assertEqual(bench.sink.stop(), 0)
        for name in 'cab':
            bench.databases[name].sql('update contacts set tag = %s', f'by {name}')
        bench.start_capture('a', 'b')
        bench.captured('a', 'b')
        held = bench.world.start('sink', name='sink-held', env={'LOCKSTEP_FAILPOINT': 'sink.conflict_send:delay=3000:*'})
        wait_for(lambda: all(any(m > 1 for m in bench.marks(n).values()) for n in bench.names), 90, 'the sinks to commit', alive=[held])
        bench.sink = bench.world.start('sink', name='sink-second', http=True)  # the group has to be shared while the first one reports
        bench.applied()
        time.sleep(4)
        held.kill()
        self.assertEqual(bench.capture.stop(), 0)
        bench.start_capture()
        self.right(bench.judge(), least_conflicts=3)


main()
