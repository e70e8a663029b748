"""What a model folder rebuilds, one file a task: what turns texts into numbers and the network together, ready for use."""
