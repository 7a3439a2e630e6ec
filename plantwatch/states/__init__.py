"""What a machine is doing: states told by rules from attributes and signals, or by levels learnt from a signal."""
