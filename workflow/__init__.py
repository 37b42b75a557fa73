"""What the rules are made of: the config as types, the stages of classifiers, and the files of a run."""
