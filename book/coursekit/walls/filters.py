"""System calls that a submission may not make, as rules for the kernel's filter."""

import platform
from struct import pack

from r1.text.confine import (
    ALLOW,
    ANY_BIT,
    ARCHITECTURE,
    ARGUMENT,
    EQUAL,
    KILL,
    LOAD,
    MACHINES,
    NUMBER,
    REFUSE,
    RETURN,
    install_filter,
)

Rule = tuple[int, int, int, int]  # see `r1.text.confine.filter_rules`

# By their numbers on x86-64 and AArch64: memory outside of any process, a way into
# other processes, and parts of the kernel that no coursework needs.
REFUSED = {
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "splice": (275, 76), "vmsplice": (278, 75),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442),
}  # fmt: skip
SOCKET = (41, 198)
FAMILIES = (1, 2, 10, 16)  # of sockets: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
CLONE, CLONE3 = (56, 220), 435
FORKS = (57, 58)  # fork and vfork, which AArch64 does not have
CLONE_THREAD, CLONE_NAMESPACES = 0x10000, 0x7E020000
NOT_THERE = 0x00050000 | 38  # ENOSYS, upon which the C library takes `clone`


def _for_machine(machine: str) -> tuple[int, list[Rule]]:
    column, architecture = MACHINES[machine]
    rules = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture)]
    return column, [*rules, (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]


def kernel_rules(machine: str) -> list[Rule]:
    """Refuse, with EPERM, what is REFUSED, namespaces, and sockets of other FAMILIES.

    A machine that is virtual can reach its host by sockets that no network confines.

    Raises KeyError for a machine that is not in `r1.text.confine.MACHINES`.
    """
    column, rules = _for_machine(machine)
    for numbers in REFUSED.values():
        rules += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, REFUSE)]
    rules += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, NOT_THERE)]
    rules += [(EQUAL, 0, 3, CLONE[column]), (LOAD, 0, 0, ARGUMENT)]
    rules += [(ANY_BIT, 0, 1, CLONE_NAMESPACES), (RETURN, 0, 0, REFUSE)]
    rules += [(LOAD, 0, 0, NUMBER), (EQUAL, 1, 0, SOCKET[column])]
    rules += [(RETURN, 0, 0, ALLOW), (LOAD, 0, 0, ARGUMENT)]
    for family in FAMILIES:
        rules += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    return [*rules, (RETURN, 0, 0, REFUSE)]


def no_process_rules(machine: str, answer: int = REFUSE) -> list[Rule]:
    """Refuse to start processes, with EPERM or another answer; threads may be started.

    Raises KeyError for a machine that is not in `r1.text.confine.MACHINES`.
    """
    column, rules = _for_machine(machine)
    for number in FORKS if column == 0 else ():
        rules += [(EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    rules += [(EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, NOT_THERE)]
    rules += [(EQUAL, 1, 0, CLONE[column]), (RETURN, 0, 0, ALLOW)]
    rules += [(LOAD, 0, 0, ARGUMENT), (ANY_BIT, 1, 0, CLONE_THREAD)]
    return [*rules, (RETURN, 0, 0, answer), (RETURN, 0, 0, ALLOW)]


def packed(rules: list[Rule]) -> bytes:
    """Rules as bubblewrap reads them."""
    return b"".join(pack("HBBI", *rule) for rule in rules)


def forbid_processes() -> None:
    """Let this thread, and those it starts, start no process any more."""
    install_filter(no_process_rules(platform.machine()))
