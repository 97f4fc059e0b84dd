"""What comes out of grading: tables, pages, other systems' files, a leaderboard."""
