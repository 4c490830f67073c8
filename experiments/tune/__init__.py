"""`expire-span tune`: a search for settings, as an Optuna study in a folder that several processes share."""
