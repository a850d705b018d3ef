"""Deletes against updates and re-inserts, in both orders of commit and both orders of arrival; and triggers that rewrite rows."""
import itertools, os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main
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

    def rewritten(self, trigger):
        bench = self.bench(trigger={'b': trigger}).start()
        write_at_once(bench, most=60, keys=6)
        judgement = bench.judge(rewritten='b')
        self.assertEqual(judgement.faults, [], judgement.report())
        # one step of the trigger for each row a sink wrote: each event at most once, and none of them travels
        events = len(judgement.log.by_id)
        steps = 2 if trigger is TOUCH_AFTER else 1
        self.assertLessEqual(judgement.writes('b'), events * steps)
        return bench

    def test_a_trigger_that_rewrites_what_the_sink_writes_does_not_loop(self):
        bench = self.rewritten(TOUCH)
        self.assertTrue(all(row['note'] == row['note'].upper() for row in bench.rows('b').values() if row['note']))

    def test_a_trigger_that_updates_the_row_after_the_sink_wrote_it_does_not_loop(self):
        self.rewritten(TOUCH_AFTER)


main()
