"""Detectors of TensorFlow, trained by a worker in an environment of its own."""
