"""The command line: train, evaluate and record an agent whose memory expires."""
