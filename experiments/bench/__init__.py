"""`expire-span bench`: steps a second, and what they go into, each row in a process of its own."""
