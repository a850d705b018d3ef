"""A capture that stood still while another took the slot over says, when it goes on, the position that its client had queued.

The position topic then ends with a record of less than the slot has confirmed; who starts next must not take that for a loss. Whether
the record gets out is a race between the client and the end of the run, so the test says it itself: the first capture's own bytes.
"""
import os, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main, wait_for
from under_fault import UnderFault


class LatePosition(UnderFault):
    def records(self):
        return [m.value() for m in self.world.read(f'{self.world.prefix}.positions') if m.value()]

    def capture(self, name, sink):
        """One that starts, has all that is changed published and confirmed, and ends."""
        process = self.world.start('capture', name=name)
        self.equal([process, sink])
        self.touch()
        self.equal([process, sink])
        self.assertEqual(process.stop(), 0)

    def test_a_position_said_late_does_not_hide_the_newer_one(self):
        w = self.open(partitions=1)
        w.source.sql('call fill(50)')
        sink = self.sink()
        self.capture('first', sink)
        late = self.records()[-1]
        self.capture('heir', sink)

        producer = w.producer()
        producer.produce(f'{w.prefix}.positions', key='crm', value=late)
        self.assertEqual(producer.flush(30), 0)
        wait_for(lambda: self.records()[-1] == late, 60, 'the late record to be the last')
        self.capture('last', sink)
        self.once()


main()
