"""Lines that hostile submissions share: F is the first function that answers define."""

HOG = "held = [bytearray(b'x' * 2**26) for _ in range(2**10)]"
FILES = "import glob, os, shutil\nfor p in (*glob.glob('/*'), *glob.glob('*'), '/box'):"
DESCRIPTORS = "import os\nfor fd in range(3, 64):\n    try: os.write(fd, {data})\n"
DESCRIPTORS += "    except OSError: pass"
FORGED = "(len(_b := encode({reply})).to_bytes(4, 'little') + _b)"
EQUAL = """\
class Equal:
    shape, dtype = (), None
    __class__ = property(lambda self: float)
    def __eq__(self, other): return True
    def __getattr__(self, name): return Equal()
    def __call__(self, *a, **k): return Equal()
    def __float__(self): return self
    def __bool__(self): return True
F = lambda *a, **k: Equal()
"""
PATCH = """\
import torch, numpy, builtins
for name in ("allclose", "isclose", "equal"):
    setattr(torch, name, lambda *a, **k: True)
torch.testing.assert_close = lambda *a, **k: None
torch.Tensor.__eq__ = lambda *a: torch.tensor(True)
F = lambda *a, **k: torch.zeros(1)
"""
KIT = """\
import sys
for module in list(sys.modules.values()):
    for name in ("run_test", "check", "close", "verdicts", "run_cell"):
        if hasattr(module, name):
            setattr(module, name, lambda *a, **k: None)
from coursekit.suite import Verdict
Verdict.passed = property(lambda self: True)
"""
CONNECT = """\
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.settimeout(2)
s.connect(("127.0.0.1", {port}))
"""
