"""Databases in step that are apart: ten minutes by their clocks, or by a network that is cut. They end equal all the same."""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main, wait_for
from two_way import TwoWayScenario, write_at_once

MINUTES = 60


class Apart(TwoWayScenario):
    def test_clocks_ten_minutes_apart_end_equal_and_an_edit_wins_over_what_it_had_seen(self):
        bench = self.bench(servers={'b': self.server(ahead=10 * MINUTES)}, max_skew='20m').start()
        a, b = bench.databases['a'], bench.databases['b']
        ahead = b.one('select extract(epoch from now())') - a.one('select extract(epoch from now())')
        self.assertGreater(ahead, 9 * MINUTES)
        b.sql("insert into contacts values (101, 'fast', 'the fast side wrote it', 1, 0)")
        bench.settle()
        a.sql("update contacts set tag = 'slow', note = 'the slow side had seen it' where id = 101")
        bench.settle()
        self.assertEqual(bench.rows('b')['101']['tag'], 'slow')
        write_at_once(bench, most=120, keys=8)
        judgement = bench.judge()
        self.right(judgement, least_conflicts=2)
        self.assertEqual(bench.rows('a')['101']['tag'], 'slow')
        lifted = [e['version'] / 1000000 - e['timestamp'].timestamp() for e in bench.world.events() if e['source'] == 'a']
        self.assertGreater(max(lifted), 9 * MINUTES, 'no edit of the slow side was lifted over what it had seen')

    def test_a_clock_beyond_max_skew_makes_dead_letters_with_that_reason_and_stops_nothing_else(self):
        bench = self.bench(servers={'b': self.server(ahead=10 * MINUTES)}).start()
        a, b = bench.databases['a'], bench.databases['b']
        b.sql("insert into contacts select i, 'fast', 'from the future', 1, 0 from generate_series(1, 5) i")
        a.sql("insert into contacts select i, 'slow', 'of today', 1, 0 from generate_series(11, 15) i")
        bench.settle()
        b.sql("update contacts set tag = 'fast again' where id = 3")
        a.sql("update contacts set tag = 'slow again' where id = 13")
        bench.settle()
        events = bench.world.events()
        fast = {e['event_id'] for e in events if e['source'] == 'b'}
        self.assertEqual(len(fast), 6)
        for name, letters in bench.dead(events).items():
            self.assertEqual(letters, dict.fromkeys(fast, 'max_skew'), name)
        self.assertEqual(sorted(bench.rows('a'), key=int), [str(i) for i in range(11, 16)])
        self.assertEqual({k: r['tag'] for k, r in bench.rows('b').items() if int(k) > 10},
                         {str(i): 'slow again' if i == 13 else 'slow' for i in range(11, 16)})
        self.assertEqual(bench.reports(), [])
        # what is dead is not the winner: an edit of the slow side goes over it
        a.sql("insert into contacts values (3, 'slow', 'wins', 1, 0)")
        bench.settle()
        self.assertEqual(bench.rows('b')['3'], bench.rows('a')['3'])

    def test_a_database_cut_off_while_both_sides_are_edited_ends_equal_once_it_is_back(self):
        bench = self.bench(names=('a', 'b', 'c'), links=('b',)).start()
        write_at_once(bench, most=30, keys=8)
        bench.links['b'].cut()
        write_at_once(bench, most=60, keys=8)
        bench.captured('a', 'c')
        bench.applied('a', 'c')
        self.assertFalse(bench.listening(bench.databases['b']), 'b is not cut off at all')
        bench.links['b'].heal()
        wait_for(lambda: bench.listening(bench.databases['b']), 120, 'b to be read again', alive=bench.running())
        self.right(bench.judge(), least_conflicts=4)


main()
