"""Deletes against updates and re-inserts, in both orders of commit and both orders of arrival; and triggers that rewrite rows."""
import itertools, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main, wait_for
from two_way import TwoWayScenario, write_at_once

EDITS = {
    'update': ["update contacts set tag = '{tag}' where id = {id}"],
    'delete': ['delete from contacts where id = {id}'],
    'insert again': ['delete from contacts where id = {id}', "insert into contacts values ({id}, '{tag}', 'again', 1, 0)"],
    'update, delete': ["update contacts set tag = '{tag}' where id = {id}", 'delete from contacts where id = {id}'],
}

TOUCH = """create function touch() returns trigger language plpgsql as $$ begin
  new.note := upper(new.note); new.changed := coalesce(new.changed, 0) + 1; return new; end $$;
create trigger touch before insert or update on contacts for each row execute function touch()"""
TOUCH_AFTER = """create function touch() returns trigger language plpgsql as $$ begin
  update contacts set changed = coalesce(changed, 0) + 1, note = 'seen by the trigger' where id = new.id; return null; end $$;
create trigger touch after insert or update on contacts for each row when (pg_trigger_depth() = 0) execute function touch()"""


class Orders(TwoWayScenario):
    def edit(self, bench, name, kind, key):
        for statement in EDITS[kind]:
            bench.databases[name].sql(statement.format(id=key, tag=f'{name} {kind}'))

    def test_deletes_updates_and_inserts_against_each_other_end_with_the_later_commit(self):
        bench = self.bench()
        bench.start()
        cases = list(itertools.product(EDITS, EDITS, 'ab', 'ab'))  # what a does, what b does, who is first to commit, and first in the topic
        keys = dict(enumerate(cases, 1))
        bench.databases['a'].sql("insert into contacts select i, 'both have it', 'base', 0, 0 from generate_series(1, %s) i", len(keys))
        bench.settle()
        self.assertEqual(bench.sink.stop(), 0)
        self.assertEqual(bench.capture.stop(), 0)
        for first_sent, second_sent in ('ab', 'ba'):
            for key, (by_a, by_b, first, sent) in keys.items():
                if sent == first_sent:
                    for name in (first, 'b' if first == 'a' else 'a'):
                        self.edit(bench, name, {'a': by_a, 'b': by_b}[name], key)
            for name in (first_sent, second_sent):
                bench.start_capture(name)
                bench.captured(name)
                self.assertEqual(bench.capture.stop(), 0)
        bench.start_sink()
        bench.start_capture()
        judgement = bench.judge()
        self.right(judgement, least_conflicts=2 * len(keys))
        for key, (by_a, by_b, first, _) in keys.items():
            last, kind = ('b', by_b) if first == 'a' else ('a', by_a)
            have = bench.rows('a').get(str(key))
            self.assertEqual(have and have['tag'], None if kind.endswith('delete') else f'{last} {kind}', f'row {key}: {keys[key]}')

    def test_triggers_that_rewrite_what_a_sink_wrote_do_not_loop(self):
        bench = self.bench(names=('a', 'b', 'c'), trigger={'b': TOUCH, 'c': TOUCH_AFTER}).start()
        write_at_once(bench, most=60, keys=6)
        judgement = bench.judge(rewritten='bc')
        self.assertEqual(judgement.faults, [], judgement.report())
        # no step of a trigger travels, and each event is written once at most: with one row change more where the trigger makes it
        events = len(judgement.log.by_id)
        self.assertLessEqual(judgement.writes('b'), events)
        self.assertLessEqual(judgement.writes('c'), 2 * events)
        self.assertTrue(all(row['note'] == row['note'].upper() for row in bench.rows('b').values() if row['note']))

    def test_a_sink_whose_writes_cannot_be_told_from_local_edits_writes_nothing_and_says_why(self):
        server = self.server(slots=4)
        bench = self.bench(servers={'b': server})
        taken = [f'somebody_{i}' for i in range(4)]  # as many as the server keeps
        for name in taken:
            bench.databases['b'].sql('select pg_replication_origin_create(%s)', name)
            bench.databases['b'].sql("select pg_replication_origin_advance(%s, '0/1')", name)
        bench.start_capture()
        bench.sink = bench.world.start('sink', http=True)
        bench.databases['a'].sql("insert into contacts values (1, 'of a', null, 0, 0)")
        wait_for(lambda: 'replication origin' in bench.sink.text(), 90, 'the sink to say why', alive=[bench.sink])
        bench.applied('a')
        self.assertEqual(bench.rows('b'), {})
        self.assertIn('max_replication_slots', bench.sink.text())
        bench.databases['b'].sql('select pg_replication_origin_drop(%s)', taken[0])
        self.right(bench.judge(bases=False))


main()
