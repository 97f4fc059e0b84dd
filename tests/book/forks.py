"""Kernels that are forks of one Python, which has imported what most notebooks import.

Else each kernel of a test run begins with the same two seconds of imports. On Linux
alone: Windows has no forks, and on macOS a fork of what is imported may die.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from functools import cache
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

IMPORTED = ["ipykernel.kernelapp", "torch", "matplotlib.figure", "scipy.stats"]


def use_forks() -> None:
    """Let all kernels that are started from here be forks."""
    if sys.platform != "linux":
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED)
    factory = KernelProvisionerFactory.instance()
    place = f"{__name__}:Provisioner"
    factory.provisioners["fork"] = EntryPoint("fork", place, factory.GROUP_NAME)
    factory.default_provisioner_name = "fork"


@cache
def plain_path() -> list[str]:
    """Where a Python of its own looks for modules; pytest's looks in more places."""
    program = "import json, sys; print(json.dumps(sys.path[1:]))"
    return json.loads(subprocess.check_output([sys.executable, "-c", program]))


class Fork:
    """A process of multiprocessing with what is asked of subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, *words):
        context = multiprocessing.get_context("forkserver")
        self.process = context.Process(target=begin, args=words)
        self.process.start()
        self.pid = self.process.pid

    def poll(self):
        return self.process.exitcode

    def wait(self):
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class Provisioner(LocalProvisioner):
    async def launch_kernel(self, cmd, *, env, cwd, **_):
        words = cmd[cmd.index("ipykernel_launcher") + 1 :]
        self.cwd = cwd
        self.process = Fork(words, dict(env), str(cwd), plain_path())
        self.pid = self.pgid = self.process.pid  # it leads a group of its own
        return self.connection_info


def begin(words, environment, folder, path):
    """Become a kernel, as ipykernel_launcher does in a Python of its own."""
    import matplotlib
    import torch
    from ipykernel.kernelapp import launch_new_instance

    os.setsid()
    for output in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    os.environ.clear()
    os.environ |= environment | {"JPY_PARENT_PID": str(os.getppid())}
    os.chdir(folder)
    sys.path[:] = path
    # What is else read from the environment when a kernel imports them.
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    matplotlib.rcParams["backend"] = "module://matplotlib_inline.backend_inline"
    launch_new_instance(words)
