"""Commands one after the other in several processes that compute as one.

One Python imports all that they need, and the processes are its forks: importing takes
each of them longer than most commands. torchrun starts what `start` is asked for.

They compute in float64 unless they are asked for another type: Adam divides a gradient
by its own size, so where it should be 0 the rounding of float32 alone would move
weights, another way for another number of processes.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

BOOK = Path(__file__).parents[2] / "book"


def start(processes: int, commands: list[list[str]]) -> subprocess.Popen:
    """Start commands by torchrun, each the name of a module and its words."""
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    torchrun += [f"--nproc-per-node={processes}"]
    return python([*torchrun, __file__], commands)


def run_all(
    commands: dict[int, list[list[str]]], dtype: str = "float64"
) -> dict[int, str]:
    """Run commands to their end, in turn for each number of processes.

    Returns what all processes of a number said. Of a command that fails that is its
    error, and the next one is run.
    """
    with python([__file__], commands, dtype) as process:
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with its forks
            raise
    assert process.returncode == 0, err
    return {int(processes): said for processes, said in json.loads(out).items()}


def printed(said: str) -> list[list[dict]]:
    """The reports of all processes, command by command: the lines that are JSON."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("[")]


def reports_of(said: str) -> list[list[dict]]:
    """What experiments.travels measured, run by run, with all bytes as by formula."""
    lines = [line for line in said.splitlines() if line.startswith('[{"held"')]
    for report in (report for line in lines for report in json.loads(line)):
        for kind in ("held", "travels"):
            table = report[kind]
            names = [name for name in table if f"{name}_formula" in table]
            assert names
            found = {name: table[name] for name in names}
            assert found == {name: table[f"{name}_formula"] for name in names}
    return [json.loads(line) for line in lines]


def python(
    words: list[str], commands: list | dict, dtype: str = "float64"
) -> subprocess.Popen:
    """Start Python with words, and with commands as JSON behind them."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(BOOK)}
    return subprocess.Popen(
        [sys.executable, *words, json.dumps(commands), dtype],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def main(commands: list[list[str]]) -> None:
    """Run commands in one of several processes, which the environment counts."""
    import torch
    import torch.distributed as dist

    from r1.train import distributed

    # Processes find one another by what they write into a store. Groups that follow
    # one another in the same processes need a part of it each.
    store, rank, world = next(dist.rendezvous("env://"))
    numbers, join = count(), dist.init_process_group

    def join_again(backend: str) -> None:
        part = dist.PrefixStore(str(next(numbers)), store)
        join(backend, store=part, rank=rank, world_size=world)

    dist.init_process_group = join_again
    torch.set_default_dtype(getattr(torch, sys.argv[2]))
    for module, *words in commands:
        try:
            importlib.import_module(f"experiments.{module}").main(words)
        except (Exception, SystemExit) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            distributed.stop()


def fork_all(commands: dict[str, list[list[str]]]) -> dict[str, str]:
    """Fork processes for each number of them; returns what they said."""
    import gc
    import socket
    import tempfile

    import torch._dynamo  # noqa: F401 (optimizers do so in each process)

    for module in {module for some in commands.values() for module, *_ in some}:
        importlib.import_module(f"experiments.{module}")
    gc.freeze()  # a look for garbage would copy all that is imported into each fork
    said = {}
    for processes, some in commands.items():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), processes)
        os.environ |= place | sizes
        with tempfile.TemporaryFile("w+") as out:
            forks = [fork(rank, some, out.fileno()) for rank in range(int(processes))]
            ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in forks]
            assert not any(ends), f"{processes} processes ended with {ends}"
            out.seek(0)
            said[processes] = out.read()
    return said


def fork(rank: int, commands: list[list[str]], out: int) -> int:
    """A process that runs commands and writes what it says to a file."""
    if pid := os.fork():
        return pid
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    os.dup2(out, 1)
    try:
        main(commands)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if isinstance(given, list):
        main(given)
    else:
        print(json.dumps(fork_all(given)))
