"""The clocks of the machines that lockstep runs on are set back and forth by ten minutes, twice what max_skew allows.

Nothing but an event that is from the future by every clock may become a dead letter, and neither order nor rows may depend on them.
LOCKSTEP_CLOCK names the file in which a dev build looks how far its clock was set.
"""
import os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main
from under_fault import UnderFault

BACK, FORTH = -600, 600


class ClockSteps(UnderFault):
    def set(self, name, seconds):
        path = f'{self.world.dir}/clock-{name}'
        with open(f'{path}.new', 'w') as f:
            f.write(str(seconds))
        os.rename(f'{path}.new', path)

    def begin(self):
        w = self.open()
        w.source.sql('call fill(100)')
        self.processes = [w.start('capture', env=self.clock('capture')), self.sink(env=self.clock('sink'))]
        self.equal(self.processes)

    def clock(self, name):
        return {'LOCKSTEP_CLOCK': f'{self.world.dir}/clock-{name}'}

    def future(self, number):
        """An event of a source whose clock is an hour ahead."""
        self.world.run('publish', '--entity', 'contact', '--id', str(number), '--source', 'future', '--type', 'UPDATE', '--version',
                       str(int(time.time() + 3600) * 1000000), '--event-id', f'future-{number}', '--data', f'{{"id": {number}, "name": "future", "rev": 1}}')

    def moves(self, number):
        """Every contact changes, one event comes from the future: it alone is dead."""
        self.touch()
        self.work(30)
        self.future(number)
        self.equal(self.processes)
        self.assertEqual(len(self.world.dead()), number, 'dead letters: those from the future')

    def test_clocks_that_are_wrong_at_the_start_and_set_while_it_works(self):
        steps = [(BACK, BACK), (FORTH, BACK), (BACK, FORTH)]
        self.set('sink', BACK)
        self.set('capture', BACK)
        self.begin()
        for number, (sink, capture) in enumerate(steps, start=1):
            self.set('sink', sink)
            self.set('capture', capture)
            self.moves(number)
        self.once(dead=len(steps))


main()
