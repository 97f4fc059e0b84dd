"""What comes out of grading.

All of it is made from results and from `grades.csv`, and the last from submissions:

    report       the table of grades, a page for each student, an overview
    export       grades for Canvas, Moodle and Gradescope
    leaderboard  a ranking under names that nobody can trace
    maxima       that of the points there and here, which must agree
    similarity   where the code of two submissions agrees
"""
