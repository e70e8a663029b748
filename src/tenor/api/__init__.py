"""The Python interface: one estimator a task, all with fit, save and a way to use it."""
