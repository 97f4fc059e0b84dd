"""The mechanisms of DeepSeek-R1, small enough to read."""
