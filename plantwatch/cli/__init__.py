"""The command `plantwatch`: one file a noun, thin. What a checkout adds is found by its entry points."""
