"""Class-incremental learning without replay: the classes come task by task, and earlier images are gone.

Every strategy is asked the same: after each task, which of all classes seen so far is this image of? Nothing tells it
the task.
"""
