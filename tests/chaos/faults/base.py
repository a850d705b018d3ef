"""What the faults of this directory have in common."""
import contextlib, time


class Fault:
    """A fault by name; how() does it and undoes it. See tests/chaos/world.py for what it is given."""

    def __init__(self, name, how, weight=1.0, needs=()):
        self.name, self.how, self.weight, self.needs = name, how, weight, set(needs)

    def inject(self, world, rng):
        return self.how(world, rng)


@contextlib.contextmanager
def free_lock(lock):
    """True when the lock was free; it is held inside, then."""
    got = lock.acquire(blocking=False)
    try:
        yield got
    finally:
        if got:
            lock.release()


@contextlib.contextmanager
def held(world, name, seconds=60):
    """The lock `name` of the world, waited for; False when it was not to be had in time."""
    lock = world.lock(name)
    got = lock.acquire(timeout=seconds)
    try:
        yield got
    finally:
        if got:
            lock.release()


@contextlib.contextmanager
def one_of(world, rng, processes):
    """A running process of the list that no other fault has hold of, or None."""
    order = list(processes)
    rng.shuffle(order)
    for process in order:
        with free_lock(world.lock(process.name)) as mine:
            if mine and process.alive:
                yield process
                return
    world.note('    no process is free for this fault')
    yield None


def rest(world, seconds):
    """Sleeps; False, sooner, when the run is ending."""
    return not world.stopping.wait(seconds)


def until(condition, seconds, every=0.1):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(every)
    return False
