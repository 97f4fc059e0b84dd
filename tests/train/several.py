"""Commands one after the other in processes that torchrun starts once.

`torchrun ... several.py COMMANDS`: a JSON list of commands, each a list of words, the
first the name of a module of experiments. A command that fails is said and left.
"""

import importlib
import json
import sys
from itertools import count

import torch.distributed as dist

from r1.train import distributed

# Processes find one another by what they write into a store. Groups that follow one
# another in the same processes need a part of it each.
store, rank, world = next(dist.rendezvous("env://"))
numbers, join = count(), dist.init_process_group


def join_again(backend: str) -> None:
    part = dist.PrefixStore(str(next(numbers)), store)
    join(backend, store=part, rank=rank, world_size=world)


dist.init_process_group = join_again
for module, *words in json.loads(sys.argv[1]):
    try:
        importlib.import_module(f"experiments.{module}").main(words)
    except (Exception, SystemExit) as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        distributed.stop()
