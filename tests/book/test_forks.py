"""A kernel that is a fork is as one that begins by itself."""

import json
import sys

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

ASKED = """
import json, os, signal, sys, warnings
import matplotlib, scipy.stats, torch
own = ("JPY_", "_")
print(json.dumps({
    "path": sys.path, "folder": os.getcwd(), "names": sorted(globals()),
    "warnings": sorted({str(each) for each in warnings.filters}),
    "environment": {k: v for k, v in os.environ.items() if not k.startswith(own)},
    "draws": [torch.rand(1).item() > 2, hash("seed")],
    "backend": matplotlib.get_backend(), "threads": torch.get_num_threads(),
    "interrupt": str(signal.getsignal(signal.SIGINT)),
    "leads": os.getpgid(0) == os.getpid(),
}))
"""


def said(kind, folder):
    """What a kernel of a kind says of itself, and whether it has ended when asked."""
    factory = KernelProvisionerFactory.instance()
    before, factory.default_provisioner_name = factory.default_provisioner_name, kind
    try:
        manager = KernelManager()
        manager.start_kernel(cwd=str(folder))
    finally:
        factory.default_provisioner_name = before
    client, texts = manager.client(), []
    client.start_channels()
    client.wait_for_ready(60)
    hook = {"output_hook": lambda message: texts.append(message["content"])}
    reply = client.execute_interactive(ASKED, store_history=False, timeout=60, **hook)
    assert reply["content"]["status"] == "ok", reply
    client.stop_channels()
    manager.shutdown_kernel()
    assert not manager.is_alive()
    return json.loads("".join(text.get("text", "") for text in texts))


@pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")
def test_a_fork_is_as_a_kernel_that_begins_by_itself(tmp_path):
    ours, theirs = (said(kind, tmp_path) for kind in ("fork", "local-provisioner"))
    for name in theirs:
        assert ours[name] == theirs[name], name
