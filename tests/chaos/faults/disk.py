"""The disk of a sink's state directory is full for a while. It is a small tmpfs, so that ENOSPC is the kernel's."""
import os, subprocess

from base import Fault, one_of, rest


def mounts():
    """True where a tmpfs may be mounted; elsewhere there is no such fault."""
    if os.getuid() != 0:
        return False
    return subprocess.run(['unshare', '-m', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'lockstep-probe', '/mnt'], capture_output=True).returncode == 0


def fill_up(path):
    try:
        with open(f'{path}/filler', 'wb', buffering=0) as f:
            while f.write(b'x' * 65536):
                pass
    except OSError:
        pass


def full_disk(world, rng):
    """The sink gets an empty, small disk, which is full at once or after a while; then there is room, and then its own disk again."""
    with one_of(world, rng, world.sinks) as sink:
        if not sink:
            return
        sink.kill()
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'lockstep-chaos', sink.state_dir], capture_output=True, text=True)
        if done.returncode:
            world.note(f'    no disk to fill: {done.stderr.strip()}')
            sink.start()
            return
        try:
            if rng.random() < 0.3:
                fill_up(sink.state_dir)
            sink.start()
            rest(world, rng.uniform(1, 5))
            fill_up(sink.state_dir)
            rest(world, rng.uniform(2, 8))
            os.unlink(f'{sink.state_dir}/filler')
            rest(world, rng.uniform(1, 4))
        finally:
            sink.kill()
            subprocess.run(['umount', '-l', sink.state_dir])
            sink.start()


FAULTS = [Fault('full-disk', full_disk, 1)] if mounts() else []
