"""lockstep's own processes: killed, stopped for longer than the group waits, stopped as an operator does, many come and many go."""
import signal

from base import Fault, held, one_of, rest

SESSION = 6.0  # session.timeout.ms of the bench


def everyone(world):
    return [world.capture, *world.sinks]


def kill(world, rng, processes):
    with one_of(world, rng, processes) as process:
        if process:
            process.kill()
            rest(world, rng.choice((0.0, rng.uniform(0, 1), rng.uniform(0, 8))))
            process.start()


def kill_capture(world, rng):
    kill(world, rng, [world.capture])


def kill_sink(world, rng):
    kill(world, rng, world.sinks)


def kill_often(world, rng):
    """The same process again and again, some of it before it has begun to work."""
    with one_of(world, rng, everyone(world)) as process:
        for _ in range(rng.randint(3, 6)):
            if not process:
                return
            process.kill()
            process.start()
            rest(world, rng.uniform(0.05, 2.5))


def kill_all(world, rng):
    """Everything at once, as when the machine is gone."""
    hit = []
    for process in everyone(world):
        lock = world.lock(process.name)
        if lock.acquire(blocking=False):
            hit.append((process, lock))
    try:
        for process, _ in hit:
            process.kill()
        rest(world, rng.uniform(0, 3))
    finally:
        for process, lock in hit:
            process.start()
            lock.release()


def freeze(world, rng, processes, seconds):
    with one_of(world, rng, processes) as process:
        if process:
            world.note(f'    {process.name} stands still for {seconds:.1f} s')
            process.kill(signal.SIGSTOP)
            try:
                rest(world, seconds)
            finally:
                process.kill(signal.SIGCONT)


def zombie(world, rng):
    """Longer than its session: its partitions have another owner when it goes on."""
    freeze(world, rng, world.sinks, rng.uniform(SESSION + 1.5, SESSION + 9))


def hiccup(world, rng):
    freeze(world, rng, everyone(world), rng.uniform(0.3, SESSION))


def freeze_capture(world, rng):
    freeze(world, rng, [world.capture], rng.uniform(4, 15))


def restart(world, rng):
    """SIGTERM and start, as an upgrade does."""
    with one_of(world, rng, everyone(world)) as process:
        if process:
            process.restart()


def crowd(world, rng):
    """Ten sinks join within a minute, and leave again in another order: some say goodbye, some do not."""
    with held(world, 'crowd', 0.1) as mine:
        if not mine:
            return
        joined = []
        for _ in range(rng.randint(4, 10)):
            joined.append(world.add_sink())
            if not rest(world, rng.uniform(0.1, 3)):
                break
        rest(world, rng.uniform(0, 4))
        rng.shuffle(joined)
        for sink in joined:
            with held(world, sink.name, 60):
                if rng.random() < 0.3:
                    sink.kill()
                world.remove_sink(sink)
            rest(world, rng.uniform(0, 2))


FAULTS = [
    Fault('kill-capture', kill_capture, 3),
    Fault('kill-sink', kill_sink, 4),
    Fault('kill-often', kill_often, 1),
    Fault('kill-all', kill_all, 1),
    Fault('zombie-sink', zombie, 4),
    Fault('freeze-capture', freeze_capture, 1.5),
    Fault('hiccup', hiccup, 1),
    Fault('restart', restart, 1),
    Fault('ten-sinks', crowd, 1),
]
