#!/usr/bin/env python3
"""The publisher of docs/publishing.md, as it stands there: its event reaches a destination, twice sent or newer."""
import os, subprocess, sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
sys.path.insert(0, f'{ROOT}/tests/support')
from lockstep_test import Scenario, main, wait_for  # noqa: E402


class Publisher(Scenario):
    def publish(self, *words):
        subprocess.run([sys.executable, f'{ROOT}/docs/publish.py', self.world.kafka, self.world.prefix, *words], check=True, timeout=60)

    def test_what_a_stranger_publishes_arrives(self):
        world = self.world
        world.destination.sql('create table contacts (id text primary key, name text, email text, stage text default $$lead$$)')
        world.configure(sources=[])
        world.run('topics', 'create')
        sink = world.start('sink')
        row = lambda: world.destination.sql('select id, name, email, stage from contacts order by id')
        self.publish('c-1', 'Ada', 'ada@example.com')
        wait_for(lambda: row() == [('c-1', 'Ada', 'ada@example.com', 'lead')], 60, 'the contact to arrive', alive=[sink])
        self.publish('c-1', 'Ada L.', 'ada@example.com')
        self.publish('ünï', 'Zoë', '')
        wait_for(lambda: row() == [('c-1', 'Ada L.', 'ada@example.com', 'lead'), ('ünï', 'Zoë', '', 'lead')], 60,
                 'the newer state to arrive', alive=[sink])
        self.assertEqual(world.dead(), [])
        self.assertEqual(sink.stop(), 0)

    def test_the_document_shows_the_program_that_is_run(self):
        with open(f'{ROOT}/docs/publish.py') as program, open(f'{ROOT}/docs/publishing.md') as page:
            code = program.read()
            self.assertIn(code[code.index('import io'):].rstrip(), page.read())


if __name__ == '__main__':
    main()
