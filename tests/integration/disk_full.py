"""The disk of the state directory is full: the sink says so and goes on trying, and goes on working once there is room.

The state directory is a tmpfs of its own, so that ENOSPC is the kernel's.
"""
import os, subprocess, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from lockstep_test import main, wait_for
from under_fault import UnderFault


class DiskFull(UnderFault):
    def small_disk(self, path, size):
        os.makedirs(path)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'lockstep-test', path], capture_output=True, text=True)
        if done.returncode:
            self.skipTest(f'a tmpfs cannot be mounted here: {done.stderr.strip()}')
        self.mounted = path

    def tearDown(self):
        if getattr(self, 'mounted', None):
            for process in self.world.processes:
                process.kill()
            subprocess.run(['umount', '-l', self.mounted])
        super().tearDown()

    def fill_up(self, path):
        """Takes all the room that is left."""
        with open(f'{path}/filler', 'wb', buffering=0) as f:
            try:
                while True:
                    f.write(b'x' * 65536)
            except OSError as e:
                self.assertEqual(e.errno, 28)  # ENOSPC

    def test_while_it_works_it_says_so_and_goes_on_when_there_is_room(self):
        w = self.open()
        state = f'{w.dir}/state-sink'
        self.small_disk(state, '8m')
        w.source.sql('call fill(200)')
        capture, sink = w.start('capture'), self.sink()
        self.equal([capture, sink])
        self.fill_up(state)
        wait_for(lambda: self.work(300) or 'No space left on device' in sink.text(), 90, 'the sink to say that the disk is full', alive=[capture, sink])
        said = next(line for line in sink.text().splitlines() if 'No space left on device' in line)
        for part in (state, 'class=retry', 'the disk has room'):
            self.assertIn(part, said)

        os.unlink(f'{state}/filler')
        self.equal([capture, sink])
        self.once()

    def test_from_the_start_it_waits_for_room(self):
        """With not a byte left a file that is mapped has no pages either: it must be an error then, not a death by SIGBUS."""
        w = self.open()
        state = f'{w.dir}/state-sink'
        self.small_disk(state, '1m')
        self.fill_up(state)
        w.source.sql('call fill(50)')
        capture, sink = w.start('capture'), self.sink()
        wait_for(lambda: 'No space left on device' in sink.text(), 60, 'the sink to say that the disk is full', alive=[capture, sink])
        os.unlink(f'{state}/filler')
        self.equal([capture, sink])
        self.once()


main()
