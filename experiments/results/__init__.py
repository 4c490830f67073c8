"""`expire-span results`: a matrix of runs, task by agent by seed, and the tables and pictures of what came of it."""
