"""An assignment and its author: the master, what is made from it, and the proof.

An author writes the first; the kit makes and proves the rest:

    assignment  a master, its points and its tests
    notebooks   the starter and the instructor's notebook
    build       the zip for students
    mutants     wrong solutions, the blank one and the one of zeros
    packs       which of them stand in for all, and which go into one notebook
    prove       whether each of them fails just the tests that it has to fail
    proof       which proof is on record, and whether it still holds
"""
