"""A class and its results: reading what was handed in, judging it, points by hand.

From the folder with what was handed in to points:

    names        names of people: compared, shown, made names of files
    tables       CSV files, read with their faults named
    archives     zips of students, unpacked without trust
    submissions  who has handed in what
    reading      one notebook: its cells, and its answers in words
    remarks      what may be at fault beside an answer that lost points
    results      what grading one submission gives
    mark         one submission
    folder       where grades go: one grader at a time, and no leftovers
    grade        a whole class, taken up again where it was left
    manual       points that people give
"""
