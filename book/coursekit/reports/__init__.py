"""What comes out of grading.

All of it is made from results and from `grades.csv`:

    report       the table of grades, a page for each student, an overview
    export       grades for Canvas, Moodle and Gradescope
    leaderboard  a ranking under names that nobody can trace
"""
