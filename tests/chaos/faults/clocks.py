"""The clock of the machine under one of lockstep's processes is set by minutes, while it works or before it starts."""
import os

from base import Fault, one_of, rest


def set_clock(process, seconds):
    path = process.env['LOCKSTEP_CLOCK']
    with open(f'{path}.new', 'w') as f:
        f.write(str(seconds))
    os.rename(f'{path}.new', path)


def clock_step(world, rng):
    """Ten minutes are more than max_skew, and all three clocks of a sink may differ: its own, the destination's, and the source's."""
    with one_of(world, rng, [world.capture, *world.sinks]) as process:
        if not process:
            return
        try:
            for _ in range(rng.randint(1, 3)):
                seconds = rng.choice((-600, 600, -rng.randint(1, 300), rng.randint(1, 300)))
                world.note(f'    the clock of {process.name} is set by {seconds} s')
                if rng.random() < 0.3:
                    process.kill()
                set_clock(process, seconds)
                process.start()
                rest(world, rng.uniform(1, 5))
        finally:
            set_clock(process, 0)


FAULTS = [Fault('clock-step', clock_step, 1.5)]
