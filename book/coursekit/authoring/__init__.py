"""An assignment and its author: the master, what is made from it, and the proof."""
